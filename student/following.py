"""Follows the stages in the control file: loads who shall answer, unloads the others, and reports it."""

import asyncio
import logging
import os
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import onnxruntime
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from ledger.configuration import Configuration
from ledger.control_file import open_control_file, open_control_file_read_only, transaction
from ledger.glance import STAGES_MARK, Glance
from ledger.heartbeats import BEAT_SECONDS, leave_heartbeat
from ledger.schema import SchemaTooNew
from student.loading import Problem, Wanted, load, marked, next_steps, read_wanted, taken_mark
from student.session import Student

POLL_SECONDS = 0.25
SUSPECT_SECONDS = 600.0
HEARTBEAT_SECONDS = BEAT_SECONDS  # at most; a change is reported at once

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Following:
    """The loaded students, and what keeps them equal to the stages. Its slow work runs in one thread."""

    configuration: Configuration
    students: dict[str, Student] = field(default_factory=dict)  # artifact -> student, changed in the loop
    inputs: dict[str, int] = field(default_factory=dict)  # counts of the queue, for the heartbeat
    _digests: dict[str, str] = field(default_factory=dict)
    _problems: dict[str, Problem] = field(default_factory=dict)
    _trouble: str = ""
    _engine: Engine | None = None  # kept: opening it anew for each heartbeat costs memory that returns late

    async def run(self) -> None:
        """Until cancelled."""
        loop = asyncio.get_running_loop()
        self._blame_the_last_death()
        engine = open_control_file_read_only(self.configuration.deployment.data_directory)
        tasks = [task.name for task in self.configuration.task]
        glance, mark, wanted = Glance(self.configuration.deployment.data_directory), None, list[Wanted]()
        reported_at, changed = 0.0, True
        with ThreadPoolExecutor(1, "load") as thread:
            while True:
                try:
                    found = await loop.run_in_executor(thread, glance.ask, STAGES_MARK)
                    if found != mark:
                        wanted = await loop.run_in_executor(thread, read_wanted, engine, tasks)
                        mark = found
                except (sqlite3.Error, SQLAlchemyError) as error:
                    # before the first start of the others there is no file
                    self._note_trouble(
                        f"The stages cannot be read, the loaded students stay: {_cause(error)}"
                    )
                else:
                    changed = await self._apply(loop, thread, wanted) or changed
                if changed or loop.time() - reported_at >= HEARTBEAT_SECONDS:
                    await loop.run_in_executor(thread, self._leave_heartbeat)
                    reported_at, changed = loop.time(), False
                await asyncio.sleep(POLL_SECONDS)

    async def _apply(
        self, loop: asyncio.AbstractEventLoop, thread: ThreadPoolExecutor, wanted: list[Wanted]
    ) -> bool:
        """Unload first, to make room; tell whether anything changed."""
        steps = next_steps(wanted, self._digests, self._problems, time.monotonic())
        for artifact in steps.forget:
            del self._problems[artifact]
        for artifact in steps.unload:
            del self._digests[artifact]
            self.students.pop(artifact)
            log.info("%s no longer answers. action=unloaded", artifact)
        for entry in steps.load:
            data_directory = self.configuration.deployment.data_directory
            settings = self.configuration.student
            watch = loop.call_later(settings.load_seconds, _give_up, entry, settings.load_seconds)
            with marked(data_directory, entry):
                outcome = await loop.run_in_executor(thread, load, entry, data_directory, settings)
            watch.cancel()
            self._loaded(entry, outcome)
        return bool(steps.forget or steps.unload or steps.load)

    def _loaded(self, wanted: Wanted, outcome: Student | Problem) -> None:
        if isinstance(outcome, Problem):
            previous = self._problems.get(wanted.artifact)
            if previous is None or previous.message != outcome.message:
                log.error("%s cannot answer: %s. action=load_failed", wanted.artifact, outcome.message)
            self._problems[wanted.artifact] = outcome
            return
        self._problems.pop(wanted.artifact, None)
        self._digests[wanted.artifact] = wanted.manifest_digest
        self.students[wanted.artifact] = outcome
        log.info(
            "%s answers from now on, on %s. action=loaded", wanted.artifact, ", ".join(outcome.providers)
        )

    def _blame_the_last_death(self) -> None:
        """An artifact that takes the process with it while it is loaded would do so at every start."""
        suspect = taken_mark(self.configuration.deployment.data_directory)
        if suspect is not None:
            message = (
                f"the last student process ended while it loaded {suspect.artifact}; it is tried again"
                f" after {SUSPECT_SECONDS:g} s, so that the others can answer"
            )
            log.error("%s. action=suspect", message)
            self._problems[suspect.artifact] = Problem(suspect, message, time.monotonic() + SUSPECT_SECONDS)

    def _leave_heartbeat(self) -> None:
        """In the loading thread. A control file that cannot be written costs the heartbeat, nothing else."""
        report = {
            "pid": os.getpid(),
            "loaded": sorted(self._digests),
            "onnxruntime": onnxruntime.__version__,
            "providers": {artifact: student.providers for artifact, student in self.students.items()},
            "problems": {artifact: problem.message for artifact, problem in self._problems.items()},
            "inputs": dict(self.inputs),
        }
        try:
            if self._engine is None:
                self._engine = open_control_file(self.configuration.deployment.data_directory)
            with transaction(self._engine) as session:
                leave_heartbeat(session, "student", report)
        except (SQLAlchemyError, SchemaTooNew, OSError) as error:
            self._note_trouble(f"The heartbeat cannot be written: {_cause(error)}")
            self._close()
        else:
            self._trouble = ""

    def _close(self) -> None:
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None

    def _note_trouble(self, sentence: str) -> None:
        """Once for each run of the same trouble."""
        if sentence != self._trouble:
            self._trouble = sentence
            log.warning("%s. action=store_trouble", sentence)


def _give_up(wanted: Wanted, seconds: float) -> None:
    """Nothing can end a library that loads; the next process finds the mark and sets the artifact aside."""
    log.critical("%s was not loaded within %g s. action=load_ended", wanted.artifact, seconds)
    os._exit(1)


def _cause(error: Exception) -> object:
    """The driver's own words; SQLAlchemy adds the statement and a web address on further lines."""
    return error.orig if isinstance(error, DBAPIError) else error
