"""What the admin API says of erasures: opening one, counting what one would reach, and how far it is."""

import sqlite3
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from sqlmodel import Session, col, select

from gateway.control.access import Person
from gateway.control.context import Control
from gateway.control.errors import Code, Refused
from gateway.control.schemas import ErasureBody
from ledger.clock import now_us
from ledger.configuration import TaskSection
from ledger.control_file import transaction
from ledger.erasures import Erasure, Step, open_erasure
from ledger.exchange_file import exchange_paths
from ledger.overwriting import count_due, report_of
from ledger.subjects import known_subject_key, pseudonym
from ledger.tables import ErasedRows, ErasureRow, StudentRow


def ask(control: Control, task: TaskSection, body: ErasureBody, person: Person) -> dict[str, Any] | Refused:
    subject = _pseudonym(control, task, body.subject) if body.subject is not None else None
    if isinstance(subject, Refused):
        return subject
    if body.dry_run:
        return _counted(control, task, subject, body.exchange_ids)
    with transaction(control.writing) as session:
        row = open_erasure(session, task.name, subject, body.exchange_ids, person.name)
        return _document(session, control.data_directory, row)


def document_of(control: Control, erasure_id: int) -> dict[str, Any] | Refused:
    with transaction(control.reading) as session:
        row = session.get(ErasureRow, erasure_id)
        if row is None:
            return Refused(Code.UNKNOWN, f"there is no erasure {erasure_id}")
        return _document(session, control.data_directory, row)


def _pseudonym(control: Control, task: TaskSection, value: str) -> str | Refused:
    try:
        key = known_subject_key(control.data_directory)
    except OSError as error:
        return Refused(Code.STORE, f"the key of subjects cannot be read, so nobody can be found: {error}")
    if key is None:
        has_header = task.capture.subject_header is not None
        return Refused(
            Code.CONFLICT,
            f"no gateway has recorded yet whose requests they are; task {task.name} names the header"
            f" {task.capture.subject_header} from its next request on"
            if has_header
            else f"task {task.name} has no capture.subject_header, so its record does not know whose requests"
            " they are; single exchanges can be erased by their ids",
        )
    return pseudonym(key, task.name, value.encode())


def _counted(
    control: Control, task: TaskSection, subject: str | None, exchange_ids: tuple[str, ...]
) -> dict[str, Any]:
    erasure = Erasure("", Step.RECORD, task.name, subject, exchange_ids, now_us())
    counts = {path.stem: count_due(path, erasure) for path in exchange_paths(control.data_directory)}
    return {"task": task.name, "subject": subject, "exchanges": sum(counts.values()), "gateways": counts}


def _document(session: Session, data_directory: Path, row: ErasureRow) -> dict[str, Any]:
    assert row.id is not None
    return {
        **row.model_dump(exclude={"token"}),
        "waits_for": _waits_for(row, exchange_paths(data_directory)),
        "jobs": list(_jobs(session, row.id)),
    }


def _waits_for(row: ErasureRow, paths: Iterable[Path]) -> list[str]:
    """Gateways whose files have not said yet that their part is done."""
    if row.step not in (Step.RECORD, Step.CLEARING):
        return []
    waits = []
    for path in paths:
        try:
            report = report_of(path, row.token)
        except sqlite3.Error:
            waits.append(path.stem)
            continue
        if not (report.has_ended if row.step == Step.RECORD else report.is_cleared):
            waits.append(path.stem)
    return waits


def _jobs(session: Session, erasure_id: int) -> Iterable[Mapping[str, Any]]:
    """Jobs that had read what was erased, each with its student, if there was one."""
    query = select(ErasedRows).where(ErasedRows.erasure_id == erasure_id).order_by(col(ErasedRows.job_id))
    for found in session.exec(query):
        artifact = select(StudentRow.artifact).where(StudentRow.job_id == found.job_id)
        yield found.model_dump(exclude={"erasure_id"}) | {"artifact": session.exec(artifact).first()}
