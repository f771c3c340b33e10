"""A whole distillation: a real worker, a real record, a small real encoder, and a student that gets registered."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine
from sqlmodel import Session, select

from distill.gating.lock import read_lock
from ledger.artifacts import artifact_folder, verify
from ledger.configuration import load
from ledger.control_file import open_control_file, transaction
from ledger.exchange import Exchange
from ledger.exchange_file import ExchangeFile, exchange_path
from ledger.job_folders import LOCK_FILE, read_lists
from ledger.jobs import JobCause, JobStatus, create_job
from ledger.observation import Observation
from ledger.spots import BANDS
from ledger.tables import JobRow, StudentRow
from student.session import Student
from tests.distill.desk import TEXT, write_configuration
from tests.distill.encoders import write_encoder, write_text
from tests.ledger.builders import build_exchange

WAIT_SECONDS = 240.0
EXCHANGES = 700
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
    """The job after a worker has run it."""
    with transaction(engine) as session:
        job_id = create_job(session, "desk", JobCause.BY_HAND, "ann").id
        assert job_id is not None
    worker = subprocess.Popen([sys.executable, "-m", "distill", "--config", str(folder / "stillgate.toml")])
    try:
        deadline = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < deadline:
            with Session(engine) as session:
                job = session.get_one(JobRow, job_id)
            if job.finished_at_us is not None:
                return job
            time.sleep(0.2)
    finally:
        worker.terminate()
        worker.wait()
    raise AssertionError(f"not finished: {job.phase}")


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
    assert sum(manifest.lineage.rows.values()) == EXCHANGES
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
def test_both_candidates_left_their_manifests(job: JobRow, folder: Path) -> None:
    """The larger one stays in the job's folder for comparison; only the smaller one was judged."""
    job_folder = folder / "data" / "jobs" / str(job.id)
    kinds = [
        json.loads(path.read_text())["kind"] for path in sorted(job_folder.glob("*/artifact/manifest.json"))
    ]

    assert kinds == ["static", "transformer"]
    assert [path.parent.name for path in job_folder.glob("*/gate.report.json")] == ["1-static"]


@pytest.mark.slow
def test_its_rows_are_listed(job: JobRow, folder: Path, engine: Engine) -> None:
    """Digests of all that it read: an erasure finds out by them which students it concerns."""
    assert job.artifact is not None
    with Session(engine) as session:
        digest = session.get_one(StudentRow, job.artifact).manifest_digest
    rows = verify(artifact_folder(folder / "data", job.artifact), digest).lineage.rows
    lists = read_lists(folder / "data" / "jobs" / str(job.id))
    assert lists.training is not None
    assert (len(lists.gate), len(lists.training)) == (rows["gate"], EXCHANGES - rows["gate"])
    assert lists.gate | lists.training == {f"digest {number}" for number in range(EXCHANGES)}
