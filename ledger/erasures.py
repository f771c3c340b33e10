"""Erasures as the control file keeps them: who asked for what, and how far it has got.

An erasure goes through its steps once and forwards; whoever was killed over one finds it open and goes on.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from sqlmodel import Session, col, func, select

from ledger.audit import append_audit
from ledger.clock import now_us
from ledger.tables import ErasedRows, ErasureRow, JobRow


class Step(StrEnum):
    """What has to be done next."""

    RECORD = "record"  # each exchange file, by the one process that writes it
    COUNTING = "counting"  # which jobs read the rows
    COPIES = "copies"  # the row lists in the folders of jobs
    CLEARING = "clearing"  # the exchange files forget which rows it was
    DONE = "done"


@dataclass(frozen=True, slots=True)
class Erasure:
    """What a writer of an exchange file has to know: exchanges of this subject, or these exchanges."""

    token: str  # its name in exchange files: row numbers begin anew where a control file is replaced
    step: Step
    task: str
    subject: str | None  # a pseudonym
    exchange_ids: tuple[str, ...]
    before_us: int  # exchanges that started later are not touched


@dataclass(frozen=True, slots=True)
class RowsErased:
    """Of the rows that a job read, those that were erased since."""

    training_rows: int
    gate_rows: int
    at_us: int  # of the last erasure
    is_bound: bool  # the job kept no list: at most so many


def open_erasure(
    session: Session, task: str, subject: str | None, exchange_ids: Sequence[str], person: str
) -> ErasureRow:
    """Ask for it. One that finds nothing is an erasure too."""
    row = ErasureRow(
        token=secrets.token_hex(8),
        task=task,
        subject=subject,
        exchange_ids=list(exchange_ids),
        opened_by=person,
        opened_at_us=now_us(),
        step=Step.RECORD,
    )
    session.add(row)
    session.flush()
    details = {"erasure": row.id, "task": task, "subject": subject, "exchange_ids": row.exchange_ids}
    append_audit(session, person, "erasure_opened", details)
    return row


def unfinished_erasures(session: Session) -> list[ErasureRow]:
    """In the order in which they were asked for."""
    query = select(ErasureRow).where(ErasureRow.step != Step.DONE).order_by(col(ErasureRow.id))
    return list(session.exec(query))


def erasure_of(row: ErasureRow) -> Erasure:
    return Erasure(
        row.token, Step(row.step), row.task, row.subject, tuple(row.exchange_ids), row.opened_at_us
    )


def finish_erasure(session: Session, row: ErasureRow) -> None:
    """Close it, and enter what it did in the audit log."""
    row.step, row.done_at_us = Step.DONE, now_us()
    session.add(row)
    jobs = session.exec(select(ErasedRows.job_id).where(ErasedRows.erasure_id == row.id)).all()
    details = {
        "erasure": row.id,
        "task": row.task,
        "subject": row.subject,
        "exchanges": row.exchanges,
        "jobs": sorted(jobs),
        "not_reached": row.not_reached,
    }
    append_audit(session, row.opened_by, "erasure_done", details)


def erasures_past_the_record(session: Session) -> int:
    """How many erasures have left the record behind: what was read before this number grew may hold erased rows."""
    query = select(func.count()).select_from(ErasureRow).where(ErasureRow.step != Step.RECORD)
    return session.exec(query).one()


def rows_erased(session: Session, job_id: int) -> RowsErased | None:
    """Over all erasures; None for a job whose rows are all still there."""
    query = (
        select(ErasedRows, ErasureRow.opened_at_us)
        .join(ErasureRow, col(ErasureRow.id) == col(ErasedRows.erasure_id))
        .where(ErasedRows.job_id == job_id)
    )
    found = session.exec(query).all()
    if not found:
        return None
    rows = [row for row, _ in found]
    return RowsErased(
        sum(row.training_rows for row in rows),
        sum(row.gate_rows for row in rows),
        max(at_us for _, at_us in found),
        any(row.is_bound for row in rows),
    )


def jobs_of_task(session: Session, task: str) -> Sequence[JobRow]:
    return session.exec(select(JobRow).where(JobRow.task == task).order_by(col(JobRow.id))).all()
