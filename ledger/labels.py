"""True labels: appended as they arrive, late, in any order; the last one for an input holds."""

from collections.abc import Collection, Sequence
from enum import StrEnum

from sqlmodel import Session, col, delete, select

from ledger.clock import now_us
from ledger.tables import LabelRow

_PAGE = 5000  # labels read at once
_AT_ONCE = 500  # exchanges in one query: SQLite limits its parameters
LEAST_PROBABILITY = 0.001  # of being chosen for labelling: a label weighs at most a thousand

_LAST = "SELECT label, probability FROM label WHERE exchange_id = ? AND input_index = ? ORDER BY number DESC LIMIT 1"
_APPEND = (
    "INSERT INTO label (exchange_id, input_index, label, arrived_at_us, source, probability)"
    " VALUES (?, ?, ?, ?, ?, ?)"
)


class Kept(StrEnum):
    """What a label was when it arrived."""

    ACCEPTED = "accepted"  # the first of its input
    CORRECTED = "corrected"  # it takes the place of another one
    DUPLICATE = "duplicate"  # what is known already: nothing is appended


def keep_label(
    session: Session,
    exchange_id: str,
    input_index: int,
    label: str,
    source: str,
    probability: float | None = None,
) -> Kept:
    """Append it, unless the last one for this input says the same.

    `probability` is that with which its exchange was chosen for labelling. None: as the last one said, else 1.
    """
    connection = session.connection()
    last = connection.exec_driver_sql(_LAST, (exchange_id, input_index)).first()
    if probability is None:
        probability = 1.0 if last is None else last[1]
    if last is not None and tuple(last) == (label, probability):
        return Kept.DUPLICATE
    connection.exec_driver_sql(_APPEND, (exchange_id, input_index, label, now_us(), source, probability))
    return Kept.ACCEPTED if last is None else Kept.CORRECTED


def labels_after(session: Session, number: int, limit: int) -> Sequence[LabelRow]:
    """The next labels in order of arrival."""
    return session.exec(
        select(LabelRow).where(col(LabelRow.number) > number).order_by(col(LabelRow.number)).limit(limit)
    ).all()


def labels_between(
    session: Session, number: int, upto: int, before_us: int, limit: int
) -> Sequence[LabelRow]:
    """Those after `number` up to `upto`, as long as they arrived before a moment."""
    rows = session.exec(
        select(LabelRow)
        .where(col(LabelRow.number) > number, col(LabelRow.number) <= upto)
        .order_by(col(LabelRow.number))
        .limit(limit)
    ).all()
    late = next((place for place, row in enumerate(rows) if row.arrived_at_us >= before_us), len(rows))
    return rows[:late]


def last_labels(session: Session, exchange_ids: Sequence[str]) -> dict[tuple[str, int], str]:
    """What holds now of these exchanges: (exchange, place of the input) -> label."""
    labels: dict[tuple[str, int], str] = {}
    for start in range(0, len(exchange_ids), _AT_ONCE):
        some = exchange_ids[start : start + _AT_ONCE]
        query = select(LabelRow).where(col(LabelRow.exchange_id).in_(some)).order_by(col(LabelRow.number))
        labels |= {(row.exchange_id, row.input_index): row.label for row in session.exec(query)}
    return labels


def remove_labels(session: Session, numbers: Collection[int]) -> None:
    """Those that can never meet their exchange."""
    if numbers:
        session.exec(delete(LabelRow).where(col(LabelRow.number).in_(numbers)))


def every_label(session: Session) -> dict[tuple[str, int], str]:
    """What is known of each input, by exchange and place: the last label that arrived for it."""
    known: dict[tuple[str, int], str] = {}
    number = 0
    while page := labels_after(session, number, _PAGE):
        known.update({(row.exchange_id, row.input_index): row.label for row in page})
        number = page[-1].number or 0
        session.expunge_all()  # a page at a time in memory
    return known
