"""What the gateway obeys: a thread reads the control file and swaps one immutable snapshot.

An unreadable control file changes nothing but the age of the monitor's last sign of life, which goes on
growing until the dead-man rule sends every request to the teacher.
"""

import logging
import sqlite3
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import Session

from gateway.certified import Certificates
from ledger.certificates import certified_rows, standings, valid_thresholds, void_slices
from ledger.clock import now_us
from ledger.configuration import Configuration, TaskSection
from ledger.control_file import open_control_file_read_only, transaction
from ledger.cursors import cursor
from ledger.erasures import Erasure, erasure_of, unfinished_erasures
from ledger.gateway_beats import beat_path, end_beats, leave_beat
from ledger.glance import ERASURES_MARK, STAGES_AND_BEATS_MARK, Glance, Mark
from ledger.heartbeats import BEAT_SECONDS, heartbeat_age_seconds
from ledger.stages import TaskStages, task_stages
from ledger.tables import CertifiedSliceRow, HeartbeatRow, StudentRow

POLL_SECONDS = 0.25
MONITOR, STUDENT = "monitor", "student"  # the names of their heartbeats
MARK = f"{STAGES_AND_BEATS_MARK}, ({ERASURES_MARK})"
NOT_READ: Mark = ()  # the mark before the first reading

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Serving:
    """The artifact that serves a task, with the confidence from which it may."""

    artifact: str
    share: float
    thresholds: Mapping[str, float]  # slice -> least confidence; empty when the certificate cannot be read
    void: frozenset[str] = frozenset()  # slices that were certified and are no longer


@dataclass(frozen=True, slots=True)
class TaskSnapshot:
    revision: int
    answering: tuple[str, ...]
    serving: Serving | None


@dataclass(frozen=True, slots=True)
class Snapshot:
    tasks: Mapping[str, TaskSnapshot] = field(default_factory=dict)
    stages: Mapping[str, TaskStages] = field(default_factory=dict)
    fresh_until: float = 0.0  # on time.monotonic(); after it the monitor counts as stale
    control_readable: bool = False
    folded: int | None = None  # the last of this gateway's answers that the monitor has read, once known
    problems: Mapping[str, str] = field(default_factory=dict)  # artifact -> why its certificate is not used
    providers: Mapping[str, Sequence[str]] = field(default_factory=dict)  # artifact -> what it runs on
    erasures: tuple[Erasure, ...] | None = None  # that are not finished, once known


class StageWatcher:
    """Polls from its own thread; `snapshot` may be read from any."""

    def __init__(self, configuration: Configuration) -> None:
        self.snapshot = Snapshot()
        self._tasks, self._gateway = configuration.task, configuration.gateway.name
        self._data_directory = configuration.deployment.data_directory
        self._stale_seconds = configuration.monitor.stale_seconds
        self._engine: Engine | None = None
        self._glance, self._mark = Glance(self._data_directory), NOT_READ
        self._certificates = Certificates(self._data_directory)
        self._beat_path = beat_path(self._data_directory, configuration.gateway.name)
        self._beaten_at = -BEAT_SECONDS  # on time.monotonic()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="stages", daemon=True)

    def start(self) -> None:
        """Look once, so that the first request obeys the stages already, then go on looking."""
        self._beat()
        self.poll()
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()
        with suppress(OSError):
            end_beats(self._beat_path)
        self._glance.close()
        if self._engine is not None:
            self._engine.dispose()

    def obey(self, configuration: Configuration) -> None:
        """Take over a changed configuration, by the next poll; certificates are judged by it again."""
        self._tasks = configuration.task
        self._stale_seconds = configuration.monitor.stale_seconds
        self._certificates = Certificates(self._data_directory)
        self._mark = NOT_READ

    def poll(self) -> None:
        """Look, and read if there is something new: stages, students, the monitor's sign of life."""
        try:
            mark = self._glance.ask(MARK, MONITOR, STUDENT)
            if mark == self._mark and not self._certificates.problems:
                return
            self._mark = mark  # before the reading: what changes meanwhile is read once more
            found = self._read()
        except (sqlite3.Error, SQLAlchemyError, OSError, ValueError) as error:
            self._mark = NOT_READ
            if self.snapshot.control_readable:
                log.warning(
                    "The control file cannot be read, the last stages stay: %s. action=control_lost", error
                )
            old = self.snapshot
            self.snapshot = replace(old, control_readable=False)
            return
        if not self.snapshot.control_readable:
            log.info("The control file is readable. action=control_found")
        self.snapshot = found

    def _run(self) -> None:
        while not self._stopping.wait(POLL_SECONDS):
            self._beat()
            try:
                self.poll()
            except Exception:  # this thread must outlive any surprise: the dead-man rule covers the rest
                self._mark = NOT_READ
                log.exception("Reading the stages failed. action=stages_failed")

    def _beat(self) -> None:
        """Every BEAT_SECONDS; where it cannot be written, the gateway shows as silent."""
        if time.monotonic() - self._beaten_at >= BEAT_SECONDS:
            self._beaten_at = time.monotonic()
            with suppress(OSError):
                leave_beat(self._beat_path)

    def _read(self) -> Snapshot:
        if self._engine is None:
            self._engine = open_control_file_read_only(self._data_directory)
        now = time.monotonic()
        with transaction(self._engine) as session:
            stages = {task.name: task_stages(session, task.name) for task in self._tasks}
            age = heartbeat_age_seconds(session, MONITOR)
            folded = cursor(session, MONITOR, f"answers:{self._gateway}")
            student = session.get(HeartbeatRow, STUDENT)
            providers = dict(student.report.get("providers", {})) if student is not None else {}
            serving = {
                artifact for found in stages.values() if found.serving for artifact in found.serving[:1]
            }
            rows = {artifact: session.get(StudentRow, artifact) for artifact in serving}
            kept = {name: _certified_rows(session, name, found) for name, found in stages.items()}
            erasures = tuple(map(erasure_of, unfinished_erasures(session)))
        digests = {artifact: row.manifest_digest for artifact, row in rows.items() if row is not None}
        fresh_until = now + self._stale_seconds - age if age is not None else 0.0
        tasks = {
            task.name: self._task_snapshot(task, stages[task.name], digests, kept[task.name])
            for task in self._tasks
        }
        problems = self._certificates.problems
        return Snapshot(tasks, stages, fresh_until, True, folded, problems, providers, erasures)

    def _task_snapshot(
        self,
        task: TaskSection,
        stages: TaskStages,
        digests: Mapping[str, str],
        kept: Sequence[CertifiedSliceRow],
    ) -> TaskSnapshot:
        if stages.serving is None:
            return TaskSnapshot(stages.revision, stages.answering, None)
        artifact, share = stages.serving
        certificate = self._certificates.certificate(artifact, digests.get(artifact), task)
        if certificate is None:
            return TaskSnapshot(stages.revision, stages.answering, Serving(artifact, share, {}))
        lines = standings(certificate, kept, task, now_us())
        serving = Serving(
            artifact, share, valid_thresholds(certificate, lines), void_slices(certificate, lines)
        )
        return TaskSnapshot(stages.revision, stages.answering, serving)


def _certified_rows(session: Session, task: str, stages: TaskStages) -> list[CertifiedSliceRow]:
    return certified_rows(session, task, stages.serving[0]) if stages.serving else []
