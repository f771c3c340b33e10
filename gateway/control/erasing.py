"""Carries erasures through their steps: waits for the exchange files, then sees to the folders of jobs.

Each step is one transaction and may be done again, so that whoever is killed over one only has to go on.
"""

import logging
import math
import sqlite3
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import Session

from gateway.control.unowned import erase_in_unowned
from ledger.control_file import transaction
from ledger.erasures import Erasure, Step, erasure_of, finish_erasure, jobs_of_task, unfinished_erasures
from ledger.exchange_file import exchange_paths
from ledger.gateway_beats import GATEWAY_QUIET_SECONDS, beat_ages
from ledger.glance import ERASURES_MARK, Glance
from ledger.job_folders import forget_rows, job_folder, read_lists
from ledger.jobs import restart_job
from ledger.overwriting import ErasedInput, Report, digests_in_record, erased_inputs, report_of
from ledger.probe_set import forget_probes
from ledger.tables import ErasedRows, ErasureRow, JobRow

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.5
UNOWNED_SECONDS = 5.0  # a gateway that is starting takes its file within this


class Eraser:
    """Lives in a thread of its own: reading a long record takes longer than a rollout tick may."""

    def __init__(
        self, engine: Engine, data_directory: Path, unowned_seconds: float = UNOWNED_SECONDS
    ) -> None:
        self._engine, self._directory = engine, data_directory
        self._unowned_seconds = unowned_seconds
        self._waiting: dict[str, float] = {}  # token -> since when on time.monotonic()

    def run_until(self, stopping: threading.Event) -> None:
        glance = Glance(self._directory)
        while not stopping.wait(POLL_SECONDS):
            try:
                if glance.ask(ERASURES_MARK) != (None,):
                    self.advance()
            except (sqlite3.Error, SQLAlchemyError, OSError) as error:
                logger.warning("An erasure waits and is tried again: %s action=erasure_waits", error)
            except Exception:
                logger.exception("An erasure failed and is tried again action=erasure_failed")
        glance.close()

    def advance(self) -> None:
        """Take every erasure as far as it gets now."""
        with transaction(self._engine) as session:
            rows = unfinished_erasures(session)
        for row in rows:
            while row.step != Step.DONE and self._advance(row):
                pass

    def _advance(self, row: ErasureRow) -> bool:
        """Do the next step of one erasure; False if it has to wait."""
        paths = exchange_paths(self._directory)
        match Step(row.step):
            case Step.RECORD:
                return self._leave_record(row, paths)
            case Step.COUNTING:
                return self._count(row, erased_inputs(paths, row.token))
            case Step.COPIES:
                return self._rewrite(row, paths)
            case _:
                return self._finish(row, paths)

    def _leave_record(self, row: ErasureRow, paths: Sequence[Path]) -> bool:
        reports = self._reports(row, paths)
        if not all(report.has_ended for report in reports):
            return False
        row.exchanges = sum(report.exchanges for report in reports)
        row.not_reached = [str(path.relative_to(self._directory)) for path in set_aside(self._directory)]
        return self._go_on(row, Step.COUNTING)

    def _count(self, row: ErasureRow, erased: Sequence[ErasedInput]) -> bool:
        """Say of each job how many of its rows it was, before its lists forget them."""
        with transaction(self._engine) as session:
            for job in jobs_of_task(session, row.task) if erased else ():
                found = _rows_of(self._directory, job, row, erased)
                if found is not None:
                    session.merge(found)
        return self._go_on(row, Step.COPIES)

    def _rewrite(self, row: ErasureRow, paths: Sequence[Path]) -> bool:
        """Take out of all lists what nobody else has sent, and the probes that were drawn from it; jobs that are
        open and have read it begin anew."""
        digests = {one.digest for one in erased_inputs(paths, row.token)}
        gone = digests - digests_in_record(paths, row.task, digests) if digests else set()
        forget_probes(self._directory, row.task, row.subject, row.exchange_ids, row.opened_at_us)
        with transaction(self._engine) as session:
            for job in jobs_of_task(session, row.task):
                assert job.id is not None
                forget_rows(job_folder(self._directory, job.id), gone)
                _begin_anew(session, job, row)
        return self._go_on(row, Step.CLEARING)

    def _finish(self, row: ErasureRow, paths: Sequence[Path]) -> bool:
        if not all(report.is_cleared for report in self._reports(row, paths)):
            return False
        with transaction(self._engine) as session:
            finish_erasure(session, row)
        self._waiting.pop(row.token, None)
        logger.info("erasure %s: %s exchanges action=erased", row.id, row.exchanges)
        return False

    def _go_on(self, row: ErasureRow, step: Step) -> bool:
        with transaction(self._engine) as session:
            row.step = step
            session.add(row)
        return True

    def _reports(self, row: ErasureRow, paths: Sequence[Path]) -> list[Report]:
        """Of each file; those that no gateway runs on are seen to here, once none can be about to start on them."""
        since = self._waiting.setdefault(row.token, time.monotonic())
        if time.monotonic() - since >= self._unowned_seconds:
            beats = beat_ages(self._directory)
            for path in paths:
                if beats.get(path.stem, math.inf) > GATEWAY_QUIET_SECONDS:
                    erase_in_unowned(path, self._unfinished)
        return [report_of(path, row.token) for path in paths]

    def _unfinished(self) -> list[Erasure]:
        with transaction(self._engine) as session:
            return list(map(erasure_of, unfinished_erasures(session)))


def set_aside(data_directory: Path) -> list[Path]:
    """Broken exchange files that were kept: they cannot be written any more, and may hold what was erased."""
    found = (data_directory / "exchanges").glob("*.broken-*")
    return sorted(path for path in found if not path.name.endswith(("-wal", "-shm")))


def _rows_of(
    data_directory: Path, job: JobRow, row: ErasureRow, erased: Sequence[ErasedInput]
) -> ErasedRows | None:
    """How many rows of a job were erased; where it kept no list, at most all that it can have read."""
    assert job.id is not None
    assert row.id is not None
    lists = read_lists(job_folder(data_directory, job.id))
    digests = {one.digest for one in erased}
    gate, is_bound = len(lists.gate & digests), lists.training is None
    if lists.training is not None:
        training = len(lists.training & digests)
    else:
        end = job.finished_at_us or 0  # one that is open has read nothing yet, or begins anew
        training = sum(one.started_at_us < end and one.digest not in lists.gate for one in erased)
    if not gate and not training:
        return None
    return ErasedRows(
        erasure_id=row.id, job_id=job.id, training_rows=training, gate_rows=gate, is_bound=is_bound
    )


def _begin_anew(session: Session, job: JobRow, row: ErasureRow) -> None:
    """An open job that has read erased rows; what comes of it then has not seen them."""
    assert row.id is not None
    found = session.get(ErasedRows, (row.id, job.id))
    if found is not None and job.finished_at_us is None:
        restart_job(session, job)
        session.delete(found)
