"""Opens the jobs that no alarm asks for: for a student that learnt from another teacher, when a review of the task is
overdue, and on a schedule."""

from sqlmodel import Session, col, select

from ledger.configuration import TaskSection
from ledger.distillable import not_distillable
from ledger.jobs import JobCause, create_job, last_finished_job, newest_job, open_job
from ledger.tables import JobRow, StudentRow
from ledger.teacher_changes import last_change, sentence_of
from monitor.recertification import Certificates

DAY_US = 86_400 * 1_000_000


def open_due_job(
    session: Session, task: TaskSection, certificates: Certificates, now_us: int
) -> JobRow | None:
    """Open what is due for the students that answer and their certificates, inside the caller's transaction.

    The first student of a task is a person's decision, so nothing is due while none answers.
    """
    licensed = task.licence is not None and task.licence.distillation_allowed
    if not (task.trigger.launch and licensed and task.candidate):
        return None
    newest = _newest(session, certificates)
    if newest is None or open_job(session, task.name) is not None:
        return None
    due = (
        _teacher_changed(session, task, newest, certificates)
        or _review_overdue(session, task, now_us)
        or _scheduled(session, task, newest, now_us)
    )
    if due is None or not_distillable(session, task.name, task.teacher.version) is not None:
        return None
    cause, reason = due
    job = create_job(session, task.name, cause, task.driver)
    job.reasons = [reason]  # until the worker says what came of it
    return job


def _newest(session: Session, artifacts: Certificates) -> StudentRow | None:
    return session.exec(
        select(StudentRow)
        .where(col(StudentRow.artifact).in_(list(artifacts)))
        .order_by(col(StudentRow.registered_at_us).desc())
    ).first()


def _teacher_changed(
    session: Session, task: TaskSection, newest: StudentRow, certificates: Certificates
) -> tuple[JobCause, str] | None:
    """Once for each student and each change that probes show: a job that fails is not repeated for ever."""
    last, change = newest_job(session, task.name, JobCause.TEACHER_CHANGED), last_change(session, task.name)
    opened_us = last.opened_at_us if last is not None else 0
    learnt, pinned = certificates[newest.artifact].teacher_epoch, task.teacher.version
    if learnt != pinned and opened_us <= newest.registered_at_us:
        reason = f"{newest.artifact} learnt from teacher version {learnt}; {pinned} is pinned"
        return JobCause.TEACHER_CHANGED, reason
    if change is not None and change.at_us > max(newest.registered_at_us, opened_us):
        return JobCause.TEACHER_CHANGED, f"since {newest.artifact} was registered, {sentence_of(change)}"
    return None


def _review_overdue(session: Session, task: TaskSection, now_us: int) -> tuple[JobCause, str] | None:
    """Once for each day that is set: whoever reviews finds a new gate report, whatever became of the student."""
    due_us = task.governance.review_due_us
    if due_us is None or now_us < due_us:
        return None
    last = newest_job(session, task.name, JobCause.REVIEW_OVERDUE)
    if last is not None and last.opened_at_us >= due_us:
        return None
    return (
        JobCause.REVIEW_OVERDUE,
        f"the task was to be reviewed by {task.governance.review_by}; review it and set governance.review_by anew",
    )


def _scheduled(
    session: Session, task: TaskSection, newest: StudentRow, now_us: int
) -> tuple[JobCause, str] | None:
    days, finished = task.trigger.every_days, last_finished_job(session, task.name)
    last_us = max(newest.registered_at_us, (finished.finished_at_us or 0) if finished is not None else 0)
    if days is None or now_us - last_us < days * DAY_US:
        return None
    return JobCause.SCHEDULE, f"trigger.every_days is {days:g}, and the last job ended longer ago"
