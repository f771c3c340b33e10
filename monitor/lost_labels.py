"""Labels of exchanges that are not in the record: kept for a day after they arrived, then counted and removed.

An exchange is written when its response has ended, so a label may come first; a day later it never will. A label
without its exchange has met no pair, and removing it changes no sums.
"""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlmodel import Session, col, func, select

from ledger.exchange import parse_exchange_id
from ledger.exchange_file import present, reading
from ledger.labels import labels_between
from ledger.tables import LabelRow

KEPT_US = 86_400_000_000
A_TICK = 2_000


@dataclass(frozen=True, slots=True)
class Swept:
    """How far the labels of more than a day ago were looked through."""

    position: int
    lost: tuple[int, ...] = ()  # numbers of labels whose exchange is not there


def aged_labels(session: Session, position: int, read: int, now_us: int) -> Sequence[LabelRow]:
    """The next labels after `position` that were read and are due. The last of all stays: its number must grow."""
    last = session.exec(select(func.max(col(LabelRow.number)))).one()
    return labels_between(session, position, min(read, (last or 0) - 1), now_us - KEPT_US, A_TICK)


def sweep(labels: Sequence[LabelRow], position: int, files: Mapping[str, Path]) -> Swept:
    """Which of them have no exchange. One whose file cannot be read waits, and those after it."""
    wanted: dict[str, list[int]] = {}
    for gateway, sequence, _ in _placed(labels):
        wanted.setdefault(gateway, []).append(sequence)
    found: dict[str, set[int]] = {}
    unreadable = set[str]()
    for gateway, sequences in wanted.items():
        try:
            found[gateway] = _present(files.get(gateway), sequences)
        except sqlite3.Error:
            unreadable.add(gateway)
    lost: list[int] = []
    for gateway, sequence, number in _placed(labels):
        if gateway in unreadable:
            break
        position = number
        if sequence not in found[gateway]:
            lost.append(number)
    return Swept(position, tuple(lost))


def _present(path: Path | None, sequences: Sequence[int]) -> set[int]:
    if path is None:
        return set()
    with reading(path) as connection:
        return present(connection, sequences)


def _placed(labels: Sequence[LabelRow]) -> Iterator[tuple[str, int, int]]:
    """Gateway and sequence of each label's exchange, and the label's number; what names none is nowhere."""
    for label in labels:
        gateway, sequence = parse_exchange_id(label.exchange_id) or ("", -1)
        yield gateway, sequence, label.number or 0
