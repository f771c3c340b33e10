"""Rollout stages: an append-only list of changes. The stage of an artifact is its last change."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from sqlmodel import Session, col, select

from ledger.audit import append_audit
from ledger.clock import now_us
from ledger.tables import StageRow


class Stage(StrEnum):
    """What is true of an artifact at this stage."""

    CANDIDATE = "candidate"  # registered, answers nothing
    SHADOW = "shadow"  # answers every request off the path; never served
    CANARY = "canary"  # serves the given share of requests, where its certificate allows
    FULL = "full"  # serves every request, where its certificate allows
    RETIRED = "retired"  # replaced by a newer student
    ROLLED_BACK = "rolled_back"  # taken out by an operator or by the gateway's rules


SERVING = frozenset({Stage.CANARY, Stage.FULL})
ANSWERING = frozenset({Stage.SHADOW, Stage.CANARY, Stage.FULL})


class StageConflict(Exception):
    """Somebody else changed the stage first."""

    def __init__(self, task: str, expected: int, found: int) -> None:
        self.expected, self.found = expected, found
        super().__init__(
            f"task {task} is at stage revision {found}, not at {expected}: somebody changed it meanwhile."
            " Look at `stillgate status` and decide again."
        )


@dataclass(frozen=True, slots=True)
class StageChange:
    """A change to append."""

    task: str
    artifact: str
    stage: Stage
    share: float  # of requests in the student's arm: 0 unless serving, 1 at full
    actor: str
    reason: str
    approved_by: str | None = None
    evidence: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TaskStages:
    """What the gateway obeys for one task."""

    revision: int  # 0 before the first change
    stages: Mapping[str, tuple[Stage, float]]  # artifact -> (stage, share)

    @property
    def answering(self) -> tuple[str, ...]:
        """Artifacts that answer requests, in the order in which they reached their stage."""
        return tuple(artifact for artifact, (stage, _) in self.stages.items() if stage in ANSWERING)

    @property
    def serving(self) -> tuple[str, float] | None:
        """The artifact that serves, with its share; at most one does."""
        for artifact, (stage, share) in self.stages.items():
            if stage in SERVING:
                return artifact, share
        return None


NO_STAGES = TaskStages(0, {})


def task_stages(session: Session, task: str) -> TaskStages:
    """Replay the changes of a task."""
    stages: dict[str, tuple[Stage, float]] = {}
    revision = 0
    for row in session.exec(select(StageRow).where(StageRow.task == task).order_by(col(StageRow.revision))):
        stages.pop(row.artifact, None)
        stages[row.artifact] = (Stage(row.stage), row.share)
        revision = row.revision
    return TaskStages(revision, stages)


def append_stage_change(session: Session, change: StageChange, expected_revision: int) -> int:
    """Append if nobody else did since `expected_revision`; return the new revision. Raises StageConflict."""
    current = session.exec(
        select(StageRow.revision).where(StageRow.task == change.task).order_by(col(StageRow.revision).desc())
    ).first()
    if (current or 0) != expected_revision:
        raise StageConflict(change.task, expected_revision, current or 0)
    revision = expected_revision + 1
    session.add(
        StageRow(
            task=change.task,
            revision=revision,
            artifact=change.artifact,
            stage=change.stage,
            share=change.share,
            at_us=now_us(),
            actor=change.actor,
            approved_by=change.approved_by,
            reason=change.reason,
            evidence=dict(change.evidence),
        )
    )
    append_audit(
        session,
        change.actor,
        "stage_changed",
        {
            "task": change.task,
            "revision": revision,
            "artifact": change.artifact,
            "stage": str(change.stage),
            "share": change.share,
            "approved_by": change.approved_by,
            "reason": change.reason,
        },
    )
    return revision
