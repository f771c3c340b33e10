"""The distill worker as a real process, with jobs that end early."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from ledger.control_file import open_control_file, transaction
from ledger.exchange_file import ExchangeFile, exchange_path
from ledger.jobs import JobCause, JobStatus, create_job, restart_job
from ledger.tables import HeartbeatRow, JobRow
from tests.distill.desk import TEXT, write_configuration
from tests.distill.encoders import told_apart

WAIT_SECONDS = 120.0  # a job imports the training libraries first: ten seconds of processor time


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = open_control_file(tmp_path / "data")
    yield engine
    engine.dispose()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[str], "subprocess.Popen[bytes]"]]:
    """Starts workers for a configuration, and stops what is left of them."""
    processes: list[subprocess.Popen[bytes]] = []

    def start_worker(text: str = TEXT) -> "subprocess.Popen[bytes]":
        config = write_configuration(tmp_path, text)
        command = [sys.executable, "-m", "distill", "--config", str(config)]
        processes.append(subprocess.Popen(command))
        return processes[-1]

    yield start_worker
    for process in processes:
        process.kill()
        process.wait()


def write_record(data_directory: Path, exchanges: int) -> None:
    file = ExchangeFile(exchange_path(data_directory, "g0"))
    file.append([told_apart(number) for number in range(exchanges)], [])
    file.close()


def open_job(engine: Engine) -> int:
    with transaction(engine) as session:
        job = create_job(session, "desk", JobCause.BY_HAND, "ann")
        assert job.id is not None
        return job.id


def job_when(engine: Engine, job_id: int, holds: Callable[[JobRow], bool]) -> JobRow:
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        with transaction(engine) as session:
            job = session.get_one(JobRow, job_id)
        if holds(job):
            return job
        time.sleep(0.05)
    raise AssertionError(f"still {job.status} {job.phase!r} {job.reasons}")


def is_closed(job: JobRow) -> bool:
    return job.status not in (JobStatus.WAITING, JobStatus.RUNNING)


def test_an_encoder_that_is_not_there_is_a_reason(
    engine: Engine, start: Callable[..., object], tmp_path: Path
) -> None:
    """What the training libraries raise ends as the job's reason, not as a silent death."""
    write_record(tmp_path / "data", 400)
    job_id = open_job(engine)

    start(TEXT.replace('encoder = "encoder"', f'encoder = "{tmp_path / "nowhere"}"'))

    job = job_when(engine, job_id, is_closed)
    assert job.status == JobStatus.FAILED
    assert "nowhere" in job.reasons[0]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("", "", "only 0 usable rows came within 0 s; gate.train_rows is 200"),
        ("distillation_allowed = true", "distillation_allowed = false", "says distillation_allowed = false"),
        ('[[task.candidate]]\nkind = "static"\nencoder = "encoder"\n', "", "names no [[task.candidate]]"),
    ],
)
def test_a_job_that_cannot_run_says_why(
    engine: Engine, start: Callable[..., object], old: str, new: str, said: str
) -> None:
    """Too few rows, no licence, nothing to train: the job fails with a sentence, and the worker lives on."""
    job_id = open_job(engine)
    assert old in TEXT

    start(TEXT.replace(old, new) if old else TEXT)

    job = job_when(engine, job_id, is_closed)
    assert job.status == JobStatus.FAILED
    assert said in job.reasons[0]


def test_a_job_waits_for_rows_and_shows_how_many(engine: Engine, start: Callable[..., object]) -> None:
    """While rows are short the job collects, tells how far it is, and can be given back by a stop."""
    write_record(Path(str(engine.url.database)).parent, 30)
    job_id = open_job(engine)

    process = start(TEXT.replace("collect_seconds = 0", "collect_seconds = 600"))

    job = job_when(engine, job_id, lambda job: job.phase.startswith("collecting"))
    assert "all: 30 of 300" in job.phase
    assert job.progress == pytest.approx(0.1)
    assert isinstance(process, subprocess.Popen)
    process.send_signal(signal.SIGTERM)
    assert process.wait(WAIT_SECONDS) == 0
    assert job_when(engine, job_id, lambda job: job.status == JobStatus.WAITING).claimed_by is None


def test_a_killed_worker_takes_its_job_up_again(engine: Engine, start: Callable[..., object]) -> None:
    """After SIGKILL the next worker of the same name goes on, and the orphaned job process is gone."""
    waiting = TEXT.replace("collect_seconds = 0", "collect_seconds = 600")
    job_id = open_job(engine)
    first = start(waiting)
    job_when(engine, job_id, lambda job: job.phase.startswith("collecting"))
    assert isinstance(first, subprocess.Popen)
    (orphan,) = children_of(first.pid)

    first.kill()
    first.wait()
    start(waiting)

    job = job_when(engine, job_id, lambda job: job.attempts == 2 and job.phase.startswith("collecting"))
    assert job.status == JobStatus.RUNNING
    assert not is_running(orphan)


def test_a_job_that_has_to_begin_anew(engine: Engine, start: Callable[..., object]) -> None:
    """As when rows were erased that it had read: its process ends, another one begins, and no attempt is counted."""
    job_id = open_job(engine)
    worker = start(TEXT.replace("collect_seconds = 0", "collect_seconds = 600"))
    job_when(engine, job_id, lambda job: job.phase.startswith("collecting"))
    assert isinstance(worker, subprocess.Popen)
    (first,) = children_of(worker.pid)

    with transaction(engine) as session:
        restart_job(session, session.get_one(JobRow, job_id))

    job = job_when(engine, job_id, lambda job: job.phase.startswith("collecting"))
    assert (job.status, job.attempts) == (JobStatus.RUNNING, 1)
    assert not is_running(first)


def test_a_killed_job_process_is_a_failed_job(engine: Engine, start: Callable[..., object]) -> None:
    """Out of memory or a crash ends the job with the signal's number; the worker stays alive."""
    job_id = open_job(engine)
    worker = start(TEXT.replace("collect_seconds = 0", "collect_seconds = 600"))
    job_when(engine, job_id, lambda job: job.phase.startswith("collecting"))
    assert isinstance(worker, subprocess.Popen)
    (process,) = children_of(worker.pid)

    os.kill(process, signal.SIGKILL)

    job = job_when(engine, job_id, is_closed)
    assert job.reasons == ["its process was ended by signal 9"]
    assert worker.poll() is None
    with transaction(engine) as session:
        assert session.get(HeartbeatRow, "distill") is not None


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
