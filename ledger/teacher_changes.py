"""Changes of the teacher that probes have shown: what the monitor writes, and others act upon."""

from enum import StrEnum

from sqlmodel import Session, col, select

from ledger.tables import TeacherChangeRow


class ChangeKind(StrEnum):
    """What changed."""

    VERSION = "version"  # the header that tells the teacher's version
    FINGERPRINT = "fingerprint"  # what the reply says of the machinery behind it
    ANSWERS = "answers"  # the answers to the same requests, beyond what the teacher's own noise explains


def sentence_of(change: TeacherChangeRow) -> str:
    """What happened, for people."""
    if change.kind != ChangeKind.ANSWERS:
        return f"the teacher's {change.kind} is {change.after}; before it was {change.before}"
    seen = change.evidence
    return (
        f"{seen['changed']} of {seen['replies']} probes got another answer than at first; its own noise and the"
        f" tolerance explain at most {seen['null']:.1%}"
    )


def last_change(session: Session, task: str) -> TeacherChangeRow | None:
    """The newest one that voids what was learnt and certified before it."""
    return session.exec(
        select(TeacherChangeRow)
        .where(TeacherChangeRow.task == task, col(TeacherChangeRow.voids))
        .order_by(col(TeacherChangeRow.id).desc())
    ).first()
