"""Exchanges of a task on either side of a moment, each beside one student's answer where there is one."""

import sqlite3

from ledger.answer_pages import NOTHING, Answered
from ledger.exchange import TEACHER, Origin

_TEACHER = f"CASE e.teacher WHEN '{NOTHING}' THEN coalesce(t.observations, '{NOTHING}') ELSE e.teacher END"
_COLUMNS = (
    "?1, coalesce(a.origin, ''), e.task, e.outcome, e.measured, e.unpaired, e.served_by, e.teacher_epoch,"
    f" coalesce(a.number, 0), coalesce(a.observations, '{NOTHING}'), e.sequence, e.exchange_id, e.started_at_us,"
    " coalesce(a.latency_us, 0), e.duration_us, e.attributes, e.input_words, e.input_digests,"
    f" {_TEACHER}, e.inclusion * coalesce(a.inclusion, 1.0), coalesce(a.spots, '{NOTHING}')"
)
_FROM = (
    "FROM exchange e"
    f" LEFT JOIN answer a ON a.exchange_sequence = e.sequence AND a.responder = ?1 AND a.origin != '{Origin.REPLAY}'"
    f" LEFT JOIN answer t ON t.exchange_sequence = e.sequence AND t.responder = '{TEACHER}'"
    " WHERE e.task = ?2"
)
_AFTER = "AND e.sequence >= ?3 ORDER BY e.sequence LIMIT ?4"
_BEFORE = "AND e.sequence < ?3 ORDER BY e.sequence DESC LIMIT ?4"
_NEXT = "SELECT sequence, started_at_us FROM exchange WHERE sequence >= ? ORDER BY sequence LIMIT 1"


def first_sequence_at(connection: sqlite3.Connection, at_us: int) -> int:
    """A number below which lie all exchanges that started before a moment, and no other.

    Numbers grow with the start of requests, so that halving finds it without an index of times.
    """
    lowest, highest = connection.execute("SELECT min(sequence), max(sequence) FROM exchange").fetchone()
    low, high = (0, 0) if lowest is None else (lowest, highest + 1)
    while low < high:
        middle = (low + high) // 2
        sequence, started_at_us = connection.execute(_NEXT, (middle,)).fetchone()
        if started_at_us >= at_us:
            high = middle
        else:
            low = sequence + 1
    return low


def answered_since(
    connection: sqlite3.Connection, responder: str, task: str, sequence: int, limit: int, texts: bool
) -> list[Answered]:
    """The first exchanges from this number on. One that the responder did not answer has no observations of it."""
    return _answered(connection, f"{_columns(texts)} {_FROM} {_AFTER}", (responder, task, sequence, limit))


def answered_before(
    connection: sqlite3.Connection, responder: str, task: str, sequence: int, limit: int, texts: bool
) -> list[Answered]:
    """The last exchanges below this number, the newest first."""
    return _answered(connection, f"{_columns(texts)} {_FROM} {_BEFORE}", (responder, task, sequence, limit))


def _columns(texts: bool) -> str:
    return f"SELECT {_COLUMNS}, {'e.inputs' if texts else repr(NOTHING)}"


def _answered(
    connection: sqlite3.Connection, query: str, parameters: tuple[str, str, int, int]
) -> list[Answered]:
    return [Answered(*row) for row in connection.execute(query, parameters)]
