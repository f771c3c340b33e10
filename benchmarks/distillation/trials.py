"""One trial: a record of real texts with the teacher's answers, a job over it, and the student that came out.

The job is the product's own: `stillgate distill run` in a process, on a data directory with an exchange file.
"""

import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sqlmodel import Session, select

from benchmarks.distillation.teachers import Answered
from ledger.artifacts import Manifest, artifact_folder, verify
from ledger.clock import now_us
from ledger.configuration import load
from ledger.control_file import open_control_file_read_only
from ledger.exchange import Arm, Exchange, Outcome, ServedBy, exchange_id
from ledger.exchange_file import ExchangeFile, exchange_path
from ledger.job_folders import job_folder
from ledger.observation import Observation
from ledger.tables import JobRow, StudentRow
from student.session import Student

TASK = "trial"
GATEWAY = "g0"
EXCHANGES_A_SECOND = 20  # of the record's own time
JOB_SECONDS = 3600

Matrix = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class TrialSettings:
    """What of a trial's configuration differs: whole sections in TOML."""

    candidates: str
    gate: str = "bar = 0.8\nrows = 600\nslice_rows = 200\ntrain_rows = 500\ncollect_seconds = 0"
    extra: str = ""  # further sections of the task


@dataclass(frozen=True, slots=True)
class Measured:
    """A student on rows that no stage of its job ever saw."""

    fidelity: float
    agrees: NDArray[np.bool_]
    accuracy: float
    teacher_accuracy: float
    calibration_error: float  # ten equal-width bins of confidence, against agreement with the teacher
    nll: float  # nats, of the teacher's distribution

    @property
    def share_of_teacher(self) -> float:
        return self.accuracy / self.teacher_accuracy


@dataclass(frozen=True, slots=True)
class Trial:
    """What became of a job: its students (the gated one first), or the reasons why there is none."""

    folder: Path
    seconds: float
    reasons: tuple[str, ...]
    artifacts: tuple[str, ...]

    def job(self) -> Path:
        return job_folder(self.folder / "data", 1)


def write_deployment(
    folder: Path, classes: Sequence[str], traffic: Sequence[Answered], settings: TrialSettings
) -> None:
    """A configuration, and a record in which the traffic arrives part after part."""
    folder.mkdir(parents=True)
    (folder / "stillgate.toml").write_text(_configuration(classes, settings))
    file = ExchangeFile(exchange_path(folder / "data", GATEWAY))
    try:
        file.append(_exchanges(traffic), [])
    finally:
        file.close()


def run_job(folder: Path) -> Trial:
    """Through the command that a person would type."""
    started = time.monotonic()
    ended = subprocess.run(
        [
            sys.executable,
            "-m",
            "stillgate.cli",
            "distill",
            "run",
            TASK,
            "--config",
            str(folder / "stillgate.toml"),
        ],
        capture_output=True,
        text=True,
        timeout=JOB_SECONDS,
        env={**os.environ, "COLUMNS": "200"},
        check=False,
    )
    seconds = time.monotonic() - started
    engine = open_control_file_read_only(folder / "data")
    with Session(engine) as session:
        job = session.exec(select(JobRow)).one()
        students = session.exec(select(StudentRow)).all()
    engine.dispose()
    if ended.returncode not in (0, 1):
        raise RuntimeError(f"distill run ended with {ended.returncode}: {ended.stderr[-2000:]}")
    artifacts = sorted((row.artifact for row in students), key=lambda name: name != job.artifact)
    return Trial(folder, seconds, tuple(job.reasons), tuple(artifacts))


def load_student(folder: Path, artifact: str) -> tuple[Student, Manifest]:
    """As the student process loads it."""
    engine = open_control_file_read_only(folder / "data")
    with Session(engine) as session:
        digest = session.get_one(StudentRow, artifact).manifest_digest
    engine.dispose()
    place = artifact_folder(folder / "data", artifact)
    return Student.load(place, digest, load(folder / "stillgate.toml").student), verify(place, digest)


def measure(student: Student, held_out: Answered) -> Measured:
    said = student.answer([row.text for row in held_out.rows])
    probabilities = np.array([answer.probabilities for answer in said])
    top, wanted = probabilities.argmax(axis=1), held_out.teacher.argmax(axis=1)
    agrees = top == wanted
    return Measured(
        fidelity=float(agrees.mean()),
        agrees=agrees,
        accuracy=float((top == held_out.truth).mean()),
        teacher_accuracy=held_out.teacher_accuracy,
        calibration_error=calibration_error(probabilities.max(axis=1), agrees),
        nll=float(-(held_out.teacher * np.log(np.maximum(probabilities, 1e-12))).sum(axis=1).mean()),
    )


def calibration_error(confidence: Matrix, agrees: NDArray[np.bool_], bins: int = 10) -> float:
    """Expected calibration error over equal-width bins (Naeini et al. 2015)."""
    places = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = [
        abs(agrees[places == place].mean() - confidence[places == place].mean()) * (places == place).mean()
        for place in np.unique(places)
    ]
    return float(sum(gaps))


def _exchanges(traffic: Sequence[Answered]) -> Iterator[Exchange]:
    rows = [(row, teacher) for part in traffic for row, teacher in zip(part.rows, part.teacher, strict=True)]
    first_us = now_us() - len(rows) * 1_000_000 // EXCHANGES_A_SECOND
    for number, (row, teacher) in enumerate(rows):
        yield Exchange(
            exchange_id=exchange_id(GATEWAY, number),
            sequence=number,
            task=TASK,
            started_at_us=first_us + number * 1_000_000 // EXCHANGES_A_SECOND,
            duration_us=10_000,
            outcome=Outcome.COMPLETE,
            status=200,
            served_by=ServedBy.TEACHER,
            arm=Arm.CONTROL,
            artifact=None,
            stage_revision=0,
            teacher_epoch="1",
            inclusion=1.0,
            measured=True,
            fallback=None,
            unpaired=None,
            attributes={"x-group": row.group},
            inputs=(row.text,),
            input_words=(len(row.text.split()),),
            input_digests=(hashlib.sha256(row.text.encode()).hexdigest()[:32],),
            teacher=(Observation(tuple(float(share) for share in teacher)),),
        )


def _configuration(classes: Sequence[str], settings: TrialSettings) -> str:
    return f"""
[deployment]
name = "trial"
data_directory = "data"

[[task]]
name = "{TASK}"
classes = {list(classes)}
dialect = "huggingface"
paths = ["/predict"]
teacher = {{ url = "http://127.0.0.1:9", version = "1" }}
capture = {{ inputs = "text" }}
governance = {{ owner = "o", sponsor = "s", driver = "d", validator = "v", operator = "p" }}
licence = {{ distillation_allowed = true, decided_by = "o", decided_on = "2026-01-02", terms = "made here" }}
fairness = {{ none_because = "public texts", declared_by = "o", declared_on = 2026-01-02 }}

[[task.slice]]
name = "group"
header = "x-group"

[[task.slice]]
name = "class"
teacher_class = true
critical = true
bar = 0.7

[task.gate]
{settings.gate}
{settings.extra}
{settings.candidates}
"""
