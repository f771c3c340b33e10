"""A whole distillation: a real record, a small real encoder, a kill on the way, and a student that gets registered."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine
from sqlmodel import Session, select

from distill.gating.lock import read_lock
from distill.journal import read_journal
from distill.stages import Finished, finished_stages
from ledger.artifacts import artifact_folder, verify
from ledger.configuration import load
from ledger.control_file import open_control_file
from ledger.exchange import Exchange
from ledger.exchange_file import ExchangeFile, exchange_path
from ledger.job_folders import LOCK_FILE, read_lists
from ledger.jobs import JobStatus
from ledger.observation import Observation
from ledger.spots import BANDS
from ledger.tables import JobRow, StudentRow
from student.session import Student
from tests.distill.desk import TEXT, write_configuration
from tests.distill.encoders import write_encoder, write_text
from tests.gateway.running import wait_until
from tests.ledger.builders import build_exchange
from tests.stillgate.command import run

WAIT_SECONDS = 240.0
EXCHANGES = 700
DIGESTS = {
    write_text(number)[0]: f"digest {number}" for number in reversed(range(EXCHANGES))
}  # of first arrivals
CANDIDATES = """
[[task.candidate]]
kind = "static"
encoder = "{encoder}"
max_tokens = 12
epochs = 6
learning_rate = 1e-2
batch_rows = 16

[[task.candidate]]
kind = "transformer"
encoder = "{encoder}"
layers = [0, 2]
max_tokens = 12
epochs = 1
learning_rate = 1e-3
batch_rows = 16
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A deployment's folder with a record: texts whose telling words decide, in two areas."""
    folder = tmp_path_factory.mktemp("job")
    encoder = write_encoder(folder / "encoder")
    text = TEXT[: TEXT.index("[[task.candidate]]")] + CANDIDATES.format(encoder=encoder)
    write_configuration(folder, text)
    file = ExchangeFile(exchange_path(folder / "data", "g0"))
    file.append(map(exchange, range(EXCHANGES)), [])
    file.close()
    return folder


def exchange(number: int) -> Exchange:
    text, label = write_text(number)
    return build_exchange(
        number,
        inputs=(text,),
        input_words=(len(text.split()),),
        input_digests=(f"digest {number}",),
        attributes={"x-area": "even" if number % 4 < 2 else "odd"},
        teacher=(Observation((0.9, 0.1) if label == 0 else (0.1, 0.9)),),
    )


@pytest.fixture(scope="module")
def engine(folder: Path) -> Iterator[Engine]:
    engine = open_control_file(folder / "data")
    yield engine
    engine.dispose()


@pytest.fixture(scope="module")
def job(folder: Path, engine: Engine) -> JobRow:
    """The job, run in a terminal that is killed after its first stage, and resumed in another one."""
    first = subprocess.Popen(command(folder, "run", "desk"))
    wait_until(lambda: "train" in [stage.stage for stage in stages_of(folder)], WAIT_SECONDS)
    first.kill()
    first.wait()
    subprocess.run(command(folder, "resume", "1"), check=True, timeout=WAIT_SECONDS)
    with Session(engine) as session:
        return session.get_one(JobRow, 1)


def stages_of(folder: Path) -> list[Finished]:
    return finished_stages(folder / "data" / "jobs" / "1")


def command(folder: Path, *arguments: str) -> list[str]:
    config = str(folder / "stillgate.toml")
    return [sys.executable, "-m", "stillgate.cli", "distill", *arguments, "--config", config]


@pytest.mark.slow
def test_the_smallest_candidate_that_passes_is_registered(job: JobRow, engine: Engine) -> None:
    """Both candidates are trained; the static one passes its gate and becomes the student."""
    assert job.status == JobStatus.SUCCEEDED, job.reasons

    with Session(engine) as session:
        student = session.exec(select(StudentRow)).one()
    assert (student.artifact, student.kind, student.gate_outcome) == (job.artifact, "static", "pass")


@pytest.mark.slow
def test_its_manifest_tells_where_it_came_from(job: JobRow, folder: Path, engine: Engine) -> None:
    """Rows, lock, licence, parity and the certificate are all there, and every file has its digest."""
    assert job.artifact is not None
    with Session(engine) as session:
        digest = session.get_one(StudentRow, job.artifact).manifest_digest

    manifest = verify(artifact_folder(folder / "data", job.artifact), digest)

    lock = read_lock(folder / "data" / "jobs" / "1" / LOCK_FILE)
    assert manifest.gate.lock_digest == lock.digest
    assert manifest.lineage.rows["gate"] == len(lock.rows)
    (chosen,) = [stage.gave for stage in stages_of(folder) if stage.stage == "curate"]
    assert manifest.lineage.rows == chosen["parts"]
    assert sum(chosen["parts"].values()) + sum(chosen["left_out"].values()) == chosen["rows"] == len(DIGESTS)
    assert manifest.licence["distillation_allowed"] is True
    assert manifest.parity["max_abs_logit_difference"] <= 1e-4
    assert manifest.certificate.thresholds.keys() <= {"all", "area=even", "area=odd"}
    assert manifest.certificate.thresholds


@pytest.mark.slow
def test_it_answers_what_it_was_gated_for(job: JobRow, folder: Path, engine: Engine) -> None:
    """Loaded as the student process loads it, it agrees with the teacher on texts that it never saw."""
    assert job.artifact is not None
    with Session(engine) as session:
        digest = session.get_one(StudentRow, job.artifact).manifest_digest
    settings = load(folder / "stillgate.toml").student
    student = Student.load(artifact_folder(folder / "data", job.artifact), digest, settings)

    texts = [write_text(number) for number in range(10_000, 10_200)]
    observations = student.answer([text for text, _ in texts])

    agreements = sum(o.top == label for o, (_, label) in zip(observations, texts, strict=True))
    assert agreements >= 190


@pytest.mark.slow
def test_it_tells_where_inputs_lie_and_its_manifest_where_the_gates_lay(
    job: JobRow, folder: Path, engine: Engine
) -> None:
    """Texts of the same kind lie in the same regions; words that no row had lie far from all of them."""
    assert job.artifact is not None
    with Session(engine) as session:
        digest = session.get_one(StudentRow, job.artifact).manifest_digest
    student = Student.load(
        artifact_folder(folder / "data", job.artifact), digest, load(folder / "stillgate.toml").student
    )
    reference = student.manifest.reference["all"]
    gate_rows = student.manifest.lineage.rows["gate"]
    assert [sum(count for _, count in reference[name]) for name in ("regions", "bands")] == [gate_rows] * 2

    alike = student.answer([write_text(number)[0] for number in range(10_000, 10_200)])
    known = {region for region, _ in reference["regions"]}
    assert sum(said.spot // BANDS in known for said in alike) >= 190
    (strange,) = student.answer(["[UNK] " * 10])
    assert strange.spot % BANDS == BANDS - 1


@pytest.mark.slow
def test_both_candidates_were_trained_and_the_smaller_one_was_judged(job: JobRow, folder: Path) -> None:
    """Each stage of each lies in the job's folder, with what it gave."""
    stages = stages_of(folder)

    assert [(str(stage.stage), stage.folder.parent.name) for stage in stages] == [
        ("curate", "1"),
        ("train", "1-static"),
        ("train", "2-transformer"),
        ("gate", "1-static"),
        ("gate", "1-static"),
        ("quantize", "1-static"),
    ]
    assert stages[3].gave["outcome"] == "pass"
    assert stages[1].gave["dev_fidelity"] > 0.9


@pytest.mark.slow
def test_its_rows_are_listed(job: JobRow, folder: Path, engine: Engine) -> None:
    """Digests of all that it read: an erasure finds out by them which students it concerns."""
    assert job.artifact is not None
    with Session(engine) as session:
        digest = session.get_one(StudentRow, job.artifact).manifest_digest
    rows = verify(artifact_folder(folder / "data", job.artifact), digest).lineage.rows
    lists = read_lists(folder / "data" / "jobs" / str(job.id))
    assert lists.training is not None
    assert len(lists.gate) >= rows["gate"]  # a row may stand for several texts
    assert len(lists.training) >= sum(rows.values()) - rows["gate"]
    assert lists.gate | lists.training <= {f"digest {number}" for number in range(EXCHANGES)}


@pytest.mark.slow
def test_what_was_done_before_the_kill_was_not_done_again(job: JobRow, folder: Path) -> None:
    """The second attempt found the first candidate trained, and went on from there."""
    lines = [
        line
        for line in read_journal(folder / "data" / "jobs" / "1")
        if "stage" in line or "attempt" in line["what"]
    ]

    told = [
        line["what"] if "stage" not in line else (line["stage"], line["inside"], line["is_reused"])
        for line in lines
    ]
    assert told == [
        "attempt_began",
        ("curate", None, False),
        ("train", "1-static", False),
        "attempt_began",
        ("curate", None, True),
        ("train", "1-static", True),
        ("train", "2-transformer", False),
        ("gate", "1-static", False),
        ("quantize", "1-static", False),
        ("gate", "1-static", False),
    ]


@pytest.mark.slow
def test_a_person_sees_its_stages_in_the_terminal(job: JobRow, folder: Path) -> None:
    """Which stages, how long, what came out; the same as a document for programs."""
    config = ("--config", str(folder / "stillgate.toml"))
    shown = run("distill", "show", "1", *config)
    document = json.loads(run("distill", "show", "1", "--output", "json", *config).stdout)

    assert shown.exit_code == 0
    assert "job 1  task desk  succeeded" in shown.stdout
    assert f"registered {job.artifact}" in shown.stdout
    assert [stage["stage"] for stage in document["stages"]] == [
        "curate",
        "train",
        "train",
        "gate",
        "gate",
        "quantize",
    ]
    assert document["stages"][3]["gave"]["outcome"] == "pass"


@pytest.mark.slow
def test_a_job_with_a_student_is_not_resumed(job: JobRow, folder: Path) -> None:
    """There is nothing to go on with, and it says so."""
    refused = run("distill", "resume", "1", "--config", str(folder / "stillgate.toml"))

    assert refused.exit_code == 6
    assert f"job 1 has registered {job.artifact}; there is nothing to resume" in refused.stderr


@pytest.mark.slow
def test_two_looks_at_one_job_show_no_difference(job: JobRow, folder: Path) -> None:
    """Compared with itself every stage is the same."""
    compared = run(
        "distill", "diff", "1", "1", "--output", "json", "--config", str(folder / "stillgate.toml")
    )

    assert set(json.loads(compared.stdout)["stages"]) == {
        "curate",
        "1-static train",
        "2-transformer train",
        "1-static gate",
        "1-static quantize",
    }
    assert not any(json.loads(compared.stdout)["stages"].values())


@pytest.mark.slow
def test_a_plan_says_what_the_record_can_prove(job: JobRow, folder: Path) -> None:
    """It locks and trains nothing, and its words are those of the verdict."""
    config = ("--config", str(folder / "stillgate.toml"))
    before = sorted((folder / "data" / "jobs").rglob("*"))

    planned = run("distill", "plan", "desk", "--output", "json", *config)
    shown = run("distill", "plan", "desk", *config)

    document = json.loads(planned.stdout)
    assert (planned.exit_code, document["feasibility"], document["reasons"]) == (0, "go", [])
    assert [pace["rung"] for pace in document["candidates"]] == ["static", "transformer"]
    assert all(line["feasibility"] in ("go", "not_provable", "doubtful") for line in document["slices"])
    assert {"all", "area=even", "area=odd"} <= {line["need"]["slice"] for line in document["slices"]}
    assert document["curve"][-1]["rows"] == document["rows"]["train"]
    assert "gate rows prove" in planned.stdout
    assert shown.stdout.startswith("plan desk  go")
    assert sorted((folder / "data" / "jobs").rglob("*")) == before


@pytest.mark.slow
def test_a_quantized_file_that_proves_too_little_is_not_registered(job: JobRow, folder: Path) -> None:
    """So few gate rows do not show that INT8 changes nothing; the student itself stands."""
    made, seen = (stages_of(folder)[place].gave for place in (5, 4))

    assert "it saves less than 20%" in made["int8-weights"]
    assert (seen["precision"], seen["outcome"]) == ("int8-dynamic", "inconclusive")
    assert "0 of 102 answers changed by quantization, which does not prove the bar" in seen["reasons"][0]
