"""Tasks that a job found not distillable: they open no job by themselves until their input or their teacher changes."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlmodel import Session, col, select

from ledger.tables import AlarmRow, JobRow
from ledger.teacher_changes import last_change

KILL = "kill"  # distill.gating.outcome.Step
INPUT = "input"  # monitor.findings.Source


def not_distillable(
    session: Session, task: str, teacher_version: str, cause: Mapping[str, Any] | None = None
) -> str | None:
    """Why the task opens no job, in a sentence; None where it may. `cause` is that of an alarm about to be raised."""
    job = session.exec(
        select(JobRow)
        .where(JobRow.task == task, col(JobRow.conclusion).is_not(None))
        .order_by(col(JobRow.id).desc())
    ).first()
    if job is None or job.conclusion is None or job.conclusion["step"] != KILL:
        return None
    if job.conclusion["teacher_version"] != teacher_version or _moved(cause):
        return None
    since_us, change = job.finished_at_us or 0, last_change(session, task)
    if (change is not None and change.at_us > since_us) or _input_moved_since(session, task, since_us):
        return None
    return (
        f"job {job.id} found the task not distillable ({job.conclusion['diagnosis']}):"
        f" {'; '.join(job.conclusion['reasons'])}. It opens no job by itself until its input moves or its teacher"
        " changes; open one by hand when something else was changed"
    )


def _input_moved_since(session: Session, task: str, since_us: int) -> bool:
    causes: Sequence[Mapping[str, Any] | None] = session.exec(
        select(AlarmRow.cause).where(AlarmRow.task == task, AlarmRow.at_us > since_us)
    ).all()
    return any(map(_moved, causes))


def _moved(cause: Mapping[str, Any] | None) -> bool:
    return cause is not None and INPUT in cause["moved"]
