"""The routes of the admin API, but for what is measured: each turns a request into one transaction and its outcome
into JSON."""

from collections import Counter
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import Path as PathPart
from fastapi import Query, Response
from fastapi.responses import JSONResponse
from sqlmodel import Session, SQLModel, col, func, select

from gateway.control import descents, erasures, promotions, proposals
from gateway.control.access import Person
from gateway.control.context import Control, ControlPart, PersonPart
from gateway.control.errors import Code, Refused, refusal_response
from gateway.control.label_intake import append_labels, check_labels
from gateway.control.page import page_response
from gateway.control.schemas import ErasureBody, KeyBody, LabelsBody, PromotionBody, ReasonBody
from gateway.control.status import status_document
from gateway.control.student_view import student_view
from ledger.audit import append_audit
from ledger.configuration import TaskSection
from ledger.control_file import transaction
from ledger.jobs import JobCause, create_job, open_job
from ledger.keys import Role, create_key, revoke_keys
from ledger.labels import Kept
from ledger.tables import AlarmRow, JobRow, KeyRow, StudentRow
from monitor.comparison import compare, paired_counts

Outcome = SQLModel | dict[str, Any] | Refused
RowNumber = Annotated[int, PathPart(ge=1, lt=2**63)]
Microseconds = Annotated[int | None, Query(ge=0, lt=2**63)]

_PAGE = page_response()


def answer(outcome: Outcome, status: int = 200) -> Response:
    """The outcome of a request as its response; this is the only way out of a route."""
    if isinstance(outcome, Refused):
        return refusal_response(outcome)
    document = outcome.model_dump(mode="json") if isinstance(outcome, SQLModel) else outcome
    return JSONResponse(document, status, {"Cache-Control": "no-store"})


def show_page() -> Response:
    return _PAGE


def show_life() -> Response:
    return answer({"alive": True})


def show_status(control: ControlPart, person: PersonPart) -> Response:
    return answer(status_document(control, person))


def show_comparison(
    task: str, old: str, new: str, control: ControlPart, since_us: Microseconds = None
) -> Response:
    """Two students on the exchanges that both answered."""
    section = control.task(task)
    if isinstance(section, Refused):
        return answer(section)
    counts = paired_counts(control.data_directory, section, old, new, since_us or 0)
    return answer({"task": task, "old": old, "new": new, "since_us": since_us, "slices": compare(counts)})


def show_student(task: str, artifact: str, control: ControlPart) -> Response:
    section = control.task(task)
    with transaction(control.reading) as session:
        student = session.get(StudentRow, artifact)
        if student is None or student.task != task:
            return answer(Refused(Code.UNKNOWN, f"task {task!r} has no registered student {artifact!r}"))
        known = section if isinstance(section, TaskSection) else None
        return answer(student_view(session, control.data_directory, known, student))


def show_alarm(alarm_id: RowNumber, control: ControlPart) -> Response:
    return answer(_row(control, AlarmRow, alarm_id, "alarm"))


def show_job(job_id: RowNumber, control: ControlPart) -> Response:
    return answer(_row(control, JobRow, job_id, "job"))


def open_distillation_job(task: str, body: ReasonBody, control: ControlPart, person: PersonPart) -> Response:
    section = control.task(task)
    if isinstance(section, Refused):
        return answer(section)
    with transaction(control.writing) as session:
        outcome = _open_job(session, section, person, body.reason)
    return answer(outcome, 201)


def propose_promotion(task: str, body: PromotionBody, control: ControlPart, person: PersonPart) -> Response:
    section = control.task(task)
    if isinstance(section, Refused):
        return answer(section)
    with transaction(control.writing) as session:
        outcome = promotions.propose(session, control.configuration, section, body, person)
    return answer(outcome, 201)


def approve_promotion(
    proposal_id: RowNumber, body: ReasonBody, control: ControlPart, person: PersonPart
) -> Response:
    with transaction(control.writing) as session:
        outcome = promotions.approve(session, control.configuration, proposal_id, person, body.reason)
    return answer(outcome)


def reject_promotion(
    proposal_id: RowNumber, body: ReasonBody, control: ControlPart, person: PersonPart
) -> Response:
    with transaction(control.writing) as session:
        outcome = proposals.reject(session, proposal_id, person, body.reason)
    return answer(outcome)


def abort_rollout(task: str, body: ReasonBody, control: ControlPart, person: PersonPart) -> Response:
    section = control.task(task)
    if isinstance(section, Refused):
        return answer(section)
    with transaction(control.writing) as session:
        outcome = descents.abort(session, task, person, body.reason)
    return answer(outcome)


def undo_stage_change(task: str, body: ReasonBody, control: ControlPart, person: PersonPart) -> Response:
    section = control.task(task)
    if isinstance(section, Refused):
        return answer(section)
    with transaction(control.writing) as session:
        outcome = descents.undo(session, task, person, body.reason)
    return answer(outcome)


def take_labels(body: LabelsBody, control: ControlPart, person: PersonPart) -> Response:
    intake = check_labels(control.configuration, body.labels)
    counts: Counter[str] = Counter()
    if intake.accepted:
        with transaction(control.writing) as session:
            counts = append_labels(session, intake.accepted, person.name)
    told = {name: counts[name] for name in (*Kept, "waiting")}
    return answer({**told, "refused": [asdict(label) for label in intake.refused]})


def ask_to_erase(task: str, body: ErasureBody, control: ControlPart, person: PersonPart) -> Response:
    """Open an erasure, which is carried out from then on; with dry_run, count what it would reach."""
    section = control.task(task)
    if isinstance(section, Refused):
        return answer(section)
    return answer(erasures.ask(control, section, body, person), 200 if body.dry_run else 201)


def show_erasure(erasure_id: RowNumber, control: ControlPart) -> Response:
    return answer(erasures.document_of(control, erasure_id))


def make_key(body: KeyBody, control: ControlPart, person: PersonPart) -> Response:
    with transaction(control.writing) as session:
        key = create_key(session, body.person, body.role, person.name)
    return answer({"person": body.person, "role": str(body.role), "key": key}, 201)


def end_keys(person: str, control: ControlPart, asking: PersonPart) -> Response:
    with transaction(control.writing) as session:
        outcome = _revoke(session, person, asking)
    return answer(outcome)


def _revoke(session: Session, person: str, asking: Person) -> dict[str, Any] | Refused:
    valid = select(func.count()).select_from(KeyRow).where(col(KeyRow.revoked_at_us).is_(None))
    if not session.exec(valid.where(KeyRow.person == person)).one():
        return Refused(Code.UNKNOWN, f"{person!r} has no key that is valid")
    if not session.exec(valid.where(KeyRow.role == Role.ADMIN, KeyRow.person != person)).one():
        return Refused(
            Code.CONFLICT,
            f"{person!r} has the last admin key, and without one nobody can make keys;"
            " make another person's first: `stillgate key create PERSON --role admin`",
        )
    return {"person": person, "revoked": revoke_keys(session, person, asking.name)}


def _open_job(session: Session, task: TaskSection, person: Person, reason: str) -> JobRow | Refused:
    if task.licence is None or not task.licence.distillation_allowed:
        return Refused(
            Code.CONFLICT,
            f"task {task.name} has no licence section that permits distillation, so no job can run;"
            " a person who has read the teacher's terms adds one to stillgate.toml",
        )
    if not task.candidate:
        return Refused(
            Code.CONFLICT, f"task {task.name} has no candidate section that says what a student is made of"
        )
    running = open_job(session, task.name)
    if running is not None:
        return Refused(Code.CONFLICT, f"job {running.id} of task {task.name} is open ({running.status})")
    job = create_job(session, task.name, JobCause.BY_HAND, person.name)
    job.reasons = [reason]  # until the worker says what came of it
    append_audit(session, person.name, "job_reason", {"job": job.id, "reason": reason})
    return job


def _row(control: Control, table: type[SQLModel], number: int, word: str) -> SQLModel | Refused:
    with transaction(control.reading) as session:
        row = session.get(table, number)
    return row or Refused(Code.UNKNOWN, f"there is no {word} {number}")
