"""True labels: appended as they arrive, late, in any order; the last one for an input holds."""

from collections.abc import Sequence

from sqlmodel import Session, col, select

from ledger.clock import now_us
from ledger.tables import LabelRow


def append_label(session: Session, exchange_id: str, input_index: int, label: str, source: str) -> None:
    session.add(
        LabelRow(
            exchange_id=exchange_id,
            input_index=input_index,
            label=label,
            arrived_at_us=now_us(),
            source=source,
        )
    )


def labels_after(session: Session, number: int, limit: int) -> Sequence[LabelRow]:
    """The next labels in order of arrival."""
    return session.exec(
        select(LabelRow).where(col(LabelRow.number) > number).order_by(col(LabelRow.number)).limit(limit)
    ).all()


def label_before(session: Session, label: LabelRow) -> LabelRow | None:
    """The label that this one corrects, if there was one."""
    return session.exec(
        select(LabelRow)
        .where(
            LabelRow.exchange_id == label.exchange_id,
            LabelRow.input_index == label.input_index,
            col(LabelRow.number) < label.number,
        )
        .order_by(col(LabelRow.number).desc())
    ).first()
