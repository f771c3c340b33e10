"""Distillation jobs: opened by an alarm, a schedule or a person, claimed by one worker, at most one open for a task."""

from enum import StrEnum
from typing import Any

from sqlalchemy import or_
from sqlmodel import Session, col, select

from ledger.audit import append_audit
from ledger.clock import now_us
from ledger.tables import JobRow

HEARTBEAT_SECONDS = 30.0  # a worker silent for longer has died; its job is claimed again
MAX_ATTEMPTS = 5


class JobCause(StrEnum):
    """Why a job was opened."""

    ALARM = "alarm"
    BY_HAND = "by_hand"
    SCHEDULE = "schedule"  # trigger.every_days have passed since the last one
    REVIEW_OVERDUE = "review_overdue"  # the day of governance.review_by is over
    TEACHER_CHANGED = "teacher_changed"  # the newest student learnt from another version, or before a change


class JobStatus(StrEnum):
    WAITING = "waiting"
    RUNNING = "running"
    SUCCEEDED = "succeeded"  # a student was registered
    FAILED = "failed"  # the reasons say why
    CANCELLED = "cancelled"


def open_job(session: Session, task: str) -> JobRow | None:
    """The job of the task that is waiting or running."""
    statuses = (JobStatus.WAITING, JobStatus.RUNNING)
    return session.exec(select(JobRow).where(JobRow.task == task, col(JobRow.status).in_(statuses))).first()


def last_finished_job(session: Session, task: str) -> JobRow | None:
    return session.exec(
        select(JobRow)
        .where(JobRow.task == task, col(JobRow.finished_at_us).is_not(None))
        .order_by(col(JobRow.finished_at_us).desc())
    ).first()


def create_job(
    session: Session, task: str, cause: JobCause, opened_by: str, alarm_id: int | None = None
) -> JobRow:
    """Open a job. The unique index refuses a second open one with an IntegrityError: look before."""
    job = JobRow(task=task, cause=cause, alarm_id=alarm_id, opened_by=opened_by, opened_at_us=now_us())
    session.add(job)
    session.flush()
    append_audit(
        session,
        opened_by,
        "job_opened",
        {"job": job.id, "task": task, "cause": str(cause), "alarm": alarm_id},
    )
    return job


def newest_job(session: Session, task: str, cause: JobCause) -> JobRow | None:
    """The last one that was opened for that cause, whatever came of it."""
    return session.exec(
        select(JobRow).where(JobRow.task == task, JobRow.cause == cause).order_by(col(JobRow.id).desc())
    ).first()


def claim_job(session: Session, worker: str) -> JobRow | None:
    """Take the oldest job that waits, or whose worker has died; None when there is none.

    A job in this worker's own name is one that it was killed over: it asks only when it runs none.
    """
    silent_since = now_us() - int(HEARTBEAT_SECONDS * 1e6)
    job = session.exec(
        select(JobRow)
        .where(
            or_(
                col(JobRow.status) == JobStatus.WAITING,
                (col(JobRow.status) == JobStatus.RUNNING)
                & ((col(JobRow.heartbeat_us) < silent_since) | (col(JobRow.claimed_by) == worker)),
            )
        )
        .order_by(col(JobRow.id))
    ).first()
    if job is None:
        return None
    claim_this_job(session, job, worker)
    return job


def beat(session: Session, job_id: int, worker: str, phase: str, progress: float) -> bool:
    """Say that the worker lives and what it does. False: the job is no longer this worker's, so stop."""
    job = session.get(JobRow, job_id)
    if job is None or job.status != JobStatus.RUNNING or job.claimed_by != worker:
        return False
    job.heartbeat_us, job.phase, job.progress = now_us(), phase, progress
    session.add(job)
    return True


def finish_job(
    session: Session,
    job_id: int,
    worker: str,
    status: JobStatus,
    reasons: list[str],
    artifact: str | None = None,
    conclusion: dict[str, Any] | None = None,
) -> bool:
    """Close a job. False: it was not this worker's any more, and its late outcome must not count."""
    job = session.get(JobRow, job_id)
    if job is None or job.status != JobStatus.RUNNING or job.claimed_by != worker:
        return False
    job.status, job.reasons, job.artifact, job.finished_at_us = status, reasons, artifact, now_us()
    job.conclusion = conclusion
    session.add(job)
    append_audit(
        session,
        worker,
        "job_finished",
        {
            "job": job_id,
            "task": job.task,
            "status": str(status),
            "reasons": reasons,
            "artifact": artifact,
            "conclusion": None if conclusion is None else conclusion["step"],
        },
    )
    return True


def is_silent(job: JobRow) -> bool:
    """Whether a running job's worker has died, as far as its heartbeat tells."""
    return job.heartbeat_us is None or job.heartbeat_us < now_us() - int(HEARTBEAT_SECONDS * 1e6)


def claim_this_job(session: Session, job: JobRow, worker: str) -> None:
    """Take one job, whoever else could: a person runs it on this machine."""
    job.status, job.claimed_by, job.heartbeat_us = JobStatus.RUNNING, worker, now_us()
    job.attempts += 1
    session.add(job)


def reopen_job(session: Session, job: JobRow, reopened_by: str) -> None:
    """Let a job that ended without a student wait again; its finished stages stand, its attempts count anew.

    The unique index refuses it with an IntegrityError while another job of the task is open: look before.
    """
    job.status, job.claimed_by, job.finished_at_us = JobStatus.WAITING, None, None
    job.phase, job.progress, job.attempts, job.reasons = "", 0.0, 0, []
    session.add(job)
    append_audit(session, reopened_by, "job_reopened", {"job": job.id, "task": job.task})


def restart_job(session: Session, job: JobRow) -> None:
    """Let an open job begin anew: what its process has read must not be used. Counts as no attempt."""
    running = job.status == JobStatus.RUNNING
    job.status, job.claimed_by, job.phase, job.progress = JobStatus.WAITING, None, "", 0.0
    job.attempts -= 1 if running else 0
    session.add(job)


def release_job(session: Session, job_id: int, worker: str) -> None:
    """Give a job back to the queue, as a worker that shuts down does."""
    job = session.get(JobRow, job_id)
    if job is not None and job.status == JobStatus.RUNNING and job.claimed_by == worker:
        job.status, job.claimed_by, job.phase, job.progress = JobStatus.WAITING, None, "", 0.0
        session.add(job)
