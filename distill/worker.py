"""The distill worker: claims a job, runs it in a process of its own, and says all along that it lives.

The job's process carries torch; when it dies of memory or a crash, the worker stays and the job says why.
"""

import json
import logging
import os
import sqlite3
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError

from distill.registration.register import RegistrationRefused, check_artifact, register_student
from ledger.artifacts import ArtifactError
from ledger.configuration import Configuration
from ledger.control_file import transaction
from ledger.glance import OPEN_JOBS, Glance
from ledger.heartbeats import BEAT_SECONDS as IDLE_BEAT_SECONDS
from ledger.heartbeats import leave_heartbeat
from ledger.jobs import MAX_ATTEMPTS, JobStatus, beat, claim_job, finish_job, release_job
from ledger.tables import JobRow
from ledger.tether import tethered

POLL_SECONDS = 1.0
BEAT_SECONDS = 2.0  # while a job runs
TERMINATE_SECONDS = 5.0

log = logging.getLogger("distill")


@dataclass
class Progress:
    """What the job's process said last."""

    phase: str = "starting"
    share: float = 0.0
    ending: dict[str, Any] | None = None
    last_words: str = ""


class Worker:
    """One job at a time until told to stop."""

    def __init__(self, configuration: Configuration, path: Path, engine: Engine, name: str) -> None:
        self._configuration = configuration
        self._path, self._engine, self._name = path, engine, name
        self._glance, self._said_at = (
            Glance(configuration.deployment.data_directory),
            -IDLE_BEAT_SECONDS,
        )  # on time.monotonic()
        self._stop = threading.Event()

    def stop(self) -> None:
        self._stop.set()

    def run(self) -> None:
        while not self._stop.is_set():
            try:
                job = self._claim() if self._is_due() else None
            except (sqlite3.Error, OperationalError) as error:
                cause = error.orig if isinstance(error, OperationalError) else error
                log.warning("control file is busy, trying again: %s action=claim_failed", cause)
                job = None
            if job is not None:
                self.run_job(job)
            else:
                self._stop.wait(POLL_SECONDS)
        self._glance.close()

    def _is_due(self) -> bool:
        """A claim takes the write lock and a write to the disk, so it waits for a job or for the next beat."""
        return time.monotonic() - self._said_at >= IDLE_BEAT_SECONDS or self._glance.ask(OPEN_JOBS) != (0,)

    def _claim(self) -> JobRow | None:
        with transaction(self._engine) as session:
            leave_heartbeat(session, "distill", {"job": None})
            job = claim_job(session, self._name)
        self._said_at = time.monotonic()
        return job

    def run_job(self, job: JobRow) -> None:
        """Run a job that this worker has claimed, until it ends or the worker is told to stop."""
        assert job.id is not None
        if job.attempts > MAX_ATTEMPTS:
            reason = f"its worker died {MAX_ATTEMPTS} times while running it; see the worker's log"
            self._finish(job, JobStatus.FAILED, [reason])
            return
        log.info("job %d of task %s begins, attempt %d action=job_started", job.id, job.task, job.attempts)
        progress = Progress()
        arguments = ("-m", "distill.job", "--config", str(self._path), "--job", str(job.id))
        process = subprocess.Popen(
            tethered(sys.executable, *arguments),
            stdout=subprocess.PIPE,
            text=True,
            # waiting threads sleep instead of spinning: the job shares the machine with those that serve
            env={**os.environ, "OMP_WAIT_POLICY": "PASSIVE"},
        )
        reader = threading.Thread(target=_read, args=(process, progress), daemon=True)
        reader.start()
        released = self._attend(job.id, process, progress)
        reader.join(TERMINATE_SECONDS)  # what the process said last may still be in the pipe
        if not released:
            self._conclude(job, process.wait(), progress)

    def _attend(self, job_id: int, process: "subprocess.Popen[str]", progress: Progress) -> bool:
        """Beat until the process ends. True: the job was given back or taken away, so it has no ending."""
        while process.poll() is None:
            self._stop.wait(BEAT_SECONDS if not self._stop.is_set() else 0)
            if self._stop.is_set():
                _terminate(process)
                with transaction(self._engine) as session:
                    release_job(session, job_id, self._name)
                return True
            if not self._beat(job_id, progress):
                log.warning("job %d was taken away action=job_lost", job_id)
                _terminate(process)
                return True
        return False

    def _beat(self, job_id: int, progress: Progress) -> bool:
        try:
            with transaction(self._engine) as session:
                leave_heartbeat(session, "distill", {"job": job_id, "phase": progress.phase})
                return beat(session, job_id, self._name, progress.phase, progress.share)
        except OperationalError as error:
            log.warning("control file is busy, beating later: %s action=beat_failed", error.orig)
            return True

    def _conclude(self, job: JobRow, exit_code: int, progress: Progress) -> None:
        ending = progress.ending
        if ending is None:
            reason = f"its process ended with code {exit_code} and said nothing more"
            if exit_code < 0:
                reason = f"its process was ended by signal {-exit_code}"
            self._finish(
                job, JobStatus.FAILED, [reason, progress.last_words] if progress.last_words else [reason]
            )
        elif ending["outcome"] == "registered":
            self._register(job, ending)
        else:
            self._finish(job, JobStatus.FAILED, ending["reasons"], ending.get("conclusion"))

    def _register(self, job: JobRow, ending: dict[str, Any]) -> None:
        """The student and its files in fewer bits, all or none, in the transaction that closes the job."""
        assert job.id is not None
        students = [
            (one["artifact"], one["manifest_digest"]) for one in (ending, *ending.get("quantized", ()))
        ]
        artifact, conclusion = ending["artifact"], ending.get("conclusion")
        try:
            checked = [check_artifact(self._configuration, job, *student) for student in students]
            with transaction(self._engine) as session:
                if finish_job(session, job.id, self._name, JobStatus.SUCCEEDED, [], artifact, conclusion):
                    for (name, digest), manifest in zip(students, checked, strict=True):
                        register_student(session, job, name, manifest, digest)
        except (ArtifactError, RegistrationRefused) as error:
            self._finish(job, JobStatus.FAILED, [str(error)])
        else:
            log.info("job %d registered %s action=student_registered", job.id, artifact)

    def _finish(
        self,
        job: JobRow,
        status: JobStatus,
        reasons: list[str],
        conclusion: dict[str, Any] | None = None,
    ) -> None:
        assert job.id is not None
        log.warning("job %d %s: %s action=job_finished", job.id, status, "; ".join(reasons))
        with transaction(self._engine) as session:
            finish_job(session, job.id, self._name, status, reasons, None, conclusion)


def _read(process: "subprocess.Popen[str]", progress: Progress) -> None:
    """Follow the job's lines: JSON documents of progress and, last, its ending."""
    assert process.stdout is not None
    for line in process.stdout:
        try:
            document = json.loads(line)
        except ValueError:
            progress.last_words = line.strip()[:500]
            continue
        if "outcome" in document:
            progress.ending = document
        else:
            progress.phase, progress.share = document["phase"], document["progress"]


def _terminate(process: "subprocess.Popen[str]") -> None:
    process.terminate()
    try:
        process.wait(TERMINATE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
