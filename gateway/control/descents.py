"""Going down, which takes one person and no verdict: abort and undo."""

from sqlmodel import Session, col, select

from gateway.control.access import Person
from gateway.control.errors import Code, Refused
from gateway.control.proposals import supersede
from ledger.stages import SERVING, Stage, StageChange, append_stage_change, task_stages
from ledger.tables import StageRow

_HEIGHT = {Stage.SHADOW: 1, Stage.CANARY: 2, Stage.FULL: 3}  # every other stage answers nothing: 0


def abort(session: Session, task: str, person: Person, reason: str) -> StageRow | Refused:
    """Take out the student that serves, else the newest in shadow; open proposals are superseded."""
    now = task_stages(session, task)
    supersede(session, task, person.name, f"abort: {reason}")
    if not now.answering:
        return Refused(
            Code.CONFLICT, f"task {task} has no student that answers: the teacher serves everything"
        )
    artifact = now.serving[0] if now.serving else now.answering[-1]
    change = StageChange(task, artifact, Stage.ROLLED_BACK, 0.0, person.name, reason)
    append_stage_change(session, change, now.revision)
    return _last_change(session, task)


def undo(session: Session, task: str, person: Person, reason: str) -> StageRow | Refused:
    """Put the student of the last stage change back to where it was before; never upwards."""
    history = list(
        session.exec(select(StageRow).where(StageRow.task == task).order_by(col(StageRow.revision)))
    )
    if not history:
        return Refused(Code.CONFLICT, f"task {task} has no stage change yet, so there is nothing to undo")
    last = history[-1]
    stage, share = _before(history)
    if _height(stage, share) >= _height(Stage(last.stage), last.share):
        return Refused(
            Code.CONFLICT,
            f"undo would take {last.artifact} up from {last.stage} to {stage};"
            " going up takes a promotion and a second person: `stillgate promote`",
        )
    supersede(session, task, person.name, f"undo: {reason}")
    change = StageChange(task, last.artifact, stage, share, person.name, reason, evidence=_seen(history))
    append_stage_change(session, change, last.revision)
    return _last_change(session, task)


def _before(history: list[StageRow]) -> tuple[Stage, float]:
    """Where the artifact of the last change stood before it; rolled back if that was its first."""
    last = history[-1]
    earlier = [row for row in history[:-1] if row.artifact == last.artifact]
    return (Stage(earlier[-1].stage), earlier[-1].share) if earlier else (Stage.ROLLED_BACK, 0.0)


def _seen(history: list[StageRow]) -> dict[str, int]:
    """A student that goes on serving keeps what was known about its alarms when it was promoted."""
    last = history[-1]
    return {"alarms_seen": last.evidence.get("alarms_seen", 0)} if Stage(last.stage) in SERVING else {}


def _height(stage: Stage, share: float) -> tuple[int, float]:
    return _HEIGHT.get(stage, 0), share


def _last_change(session: Session, task: str) -> StageRow:
    newest = select(StageRow).where(StageRow.task == task).order_by(col(StageRow.revision).desc()).limit(1)
    return session.exec(newest).one()
