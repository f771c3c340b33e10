"""The rollout tick: what changes by itself. New students enter shadow; an alarm takes a serving one down."""

import logging
from dataclasses import dataclass

from sqlalchemy import Engine
from sqlmodel import Session, col, select

from gateway.control.evidence import last_alarm
from gateway.control.proposals import open_proposal, supersede
from ledger.configuration import Configuration
from ledger.control_file import transaction
from ledger.stages import SERVING, Stage, StageChange, TaskStages, append_stage_change, task_stages
from ledger.tables import StageRow, StudentRow

logger = logging.getLogger(__name__)

ACTOR = "stillgate"  # of changes that no person asked for


@dataclass(frozen=True, slots=True)
class RaisedAlarm:
    """The newest alarm of the student that serves."""

    alarm_id: int
    slice: str


@dataclass(frozen=True, slots=True)
class Situation:
    """All that the decisions of one task look at."""

    task: str
    stages: TaskStages
    students: tuple[str, ...] = ()  # registered, not failed by the gate and not quantized, oldest first
    alarm: RaisedAlarm | None = None
    alarms_seen: int = 0  # the newest alarm that was known when the serving student got its stage
    proposed_at_revision: int | None = None  # of the open proposal


def next_changes(situation: Situation) -> tuple[StageChange, ...]:
    """Stage changes that are due: the way down first."""
    return (*_demotions(situation), *_entries(situation))


def proposal_is_overtaken(situation: Situation) -> bool:
    """An open proposal about another situation than the present one, or the one that is about to be."""
    if situation.proposed_at_revision is None:
        return False
    return situation.proposed_at_revision != situation.stages.revision or bool(next_changes(situation))


def _demotions(situation: Situation) -> tuple[StageChange, ...]:
    serving, alarm = situation.stages.serving, situation.alarm
    if serving is None or alarm is None or alarm.alarm_id <= situation.alarms_seen:
        return ()
    reason = f"alarm {alarm.alarm_id} on slice {alarm.slice}: the teacher serves until somebody decides"
    evidence = {"alarm": alarm.alarm_id}
    return (StageChange(situation.task, serving[0], Stage.SHADOW, 0.0, ACTOR, reason, evidence=evidence),)


def _entries(situation: Situation) -> tuple[StageChange, ...]:
    """Registered students that have no stage yet."""
    return tuple(
        StageChange(situation.task, artifact, Stage.SHADOW, 0.0, ACTOR, "registered by its distillation job")
        for artifact in situation.students
        if artifact not in situation.stages.stages
    )


def look(session: Session, task: str) -> Situation:
    """Read what the decisions need."""
    stages, proposal = task_stages(session, task), open_proposal(session, task)
    serving = stages.serving[0] if stages.serving else None
    return Situation(
        task=task,
        stages=stages,
        students=_students(session, task),
        alarm=_newest_alarm(session, task, serving) if serving else None,
        alarms_seen=_alarms_seen(session, task, serving) if serving else 0,
        proposed_at_revision=proposal.expected_revision if proposal else None,
    )


def tick(reading: Engine, writing: Engine, configuration: Configuration) -> int:
    """Apply what is due for every task; return the number of stage changes. Looks before it locks."""
    changed = 0
    for task in configuration.task:
        with transaction(reading) as session:
            situation = look(session, task.name)
        if next_changes(situation) or proposal_is_overtaken(situation):
            with transaction(writing) as session:
                changed += _apply(session, look(session, task.name))
    return changed


def _apply(session: Session, situation: Situation) -> int:
    """Decide once more under the write lock, where nobody can come between."""
    changes = next_changes(situation)
    if proposal_is_overtaken(situation):
        supersede(session, situation.task, ACTOR, "the stage changed after it was proposed")
    for offset, change in enumerate(changes):
        append_stage_change(session, change, situation.stages.revision + offset)
        logger.info(
            "%s of task %s is now in %s: %s action=stage_changed",
            change.artifact,
            change.task,
            change.stage,
            change.reason,
        )
    return len(changes)


def _students(session: Session, task: str) -> tuple[str, ...]:
    rows = session.exec(
        select(StudentRow.artifact)
        .where(
            StudentRow.task == task,
            StudentRow.gate_outcome != "fail",
            col(StudentRow.quantized_from).is_(
                None
            ),  # a person decides whether it takes its original's place
        )
        .order_by(col(StudentRow.registered_at_us), col(StudentRow.artifact))
    )
    return tuple(rows)


def _newest_alarm(session: Session, task: str, artifact: str) -> RaisedAlarm | None:
    row = last_alarm(session, task, artifact)
    return RaisedAlarm(row.id, row.slice) if row and row.id is not None else None


def _alarms_seen(session: Session, task: str, artifact: str) -> int:
    row = session.exec(
        select(StageRow)
        .where(
            StageRow.task == task,
            StageRow.artifact == artifact,
            col(StageRow.stage).in_([*map(str, SERVING)]),
        )
        .order_by(col(StageRow.revision).desc())
        .limit(1)
    ).first()
    return int(row.evidence.get("alarms_seen", 0)) if row else 0
