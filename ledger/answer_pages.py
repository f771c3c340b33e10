"""Answers page by page, with what statistics need of their exchanges and nothing else.

Lists stay the JSON text that they are stored as: whoever folds thousands of rows decodes a page at a time.
"""

import sqlite3
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import orjson

from ledger.exchange import TEACHER, Origin

ROWS_A_READ = 250
NOTHING = "[]"  # the stored form of no observations

_COLUMNS = (
    "a.number, a.responder, a.origin, a.observations, e.sequence, e.exchange_id, e.task, e.started_at_us,"
    " e.outcome, e.measured, e.unpaired, e.attributes, e.input_words, e.input_digests, e.teacher,"
    " e.teacher_epoch"
)
_AFTER = (
    f"SELECT {_COLUMNS} FROM answer a JOIN exchange e ON e.sequence = a.exchange_sequence"
    " WHERE a.number > ? ORDER BY a.number LIMIT ?"
)
_OF_EXCHANGES = (
    f"SELECT {_COLUMNS} FROM answer a JOIN exchange e ON e.sequence = a.exchange_sequence"
    " WHERE a.exchange_sequence IN (SELECT value FROM json_each(?)) AND a.number <= ?"
    " ORDER BY a.exchange_sequence, a.number"
)


class Answered(NamedTuple):
    """An answer beside its exchange. `observations`, `attributes`, the inputs' and `teacher` are JSON text."""

    number: int  # order of arrival
    responder: str  # artifact id, or TEACHER
    origin: str
    observations: str
    sequence: int
    exchange_id: str
    task: str
    started_at_us: int
    outcome: str
    measured: int  # 0 or 1
    unpaired: str | None
    attributes: str
    input_words: str
    input_digests: str
    teacher: str  # observations on the caller's path; NOTHING where the teacher was not asked
    teacher_epoch: str  # the version that answered, or that was pinned

    @property
    def is_live_student(self) -> bool:
        return self.responder != TEACHER and self.origin != Origin.REPLAY


_answered = partial(tuple.__new__, Answered)  # Answered._make without its checks: the columns are our own


def page_after(connection: sqlite3.Connection, number: int, rows: int, size: int) -> list[Answered]:
    """The next answers in order of arrival: at most `rows`, and about `size` bytes of observations."""
    page: list[Answered] = []
    cursor = connection.execute(_AFTER, (number, rows))
    while size > 0 and (read := list(map(_answered, cursor.fetchmany(ROWS_A_READ)))):
        page += read
        size -= sum(len(row.observations) + len(row.teacher) for row in read)
    return page


def answers_upto(connection: sqlite3.Connection, sequences: Sequence[int], number: int) -> list[Answered]:
    """Every answer to these exchanges that had arrived by `number`, exchange by exchange, in order of arrival."""
    if not sequences:
        return []
    asked = orjson.dumps(list(sequences)).decode()
    return list(map(_answered, connection.execute(_OF_EXCHANGES, (asked, number))))


def decoded(texts: Sequence[str]) -> list[Any]:
    """Many JSON texts at once: one call costs much less than one for each."""
    found: list[Any] = orjson.loads(f"[{','.join(texts)}]")
    return found


def plain(observations: list[Any]) -> list[Any]:
    """Probabilities or the word of an error for each decoded observation, without what else is known of it."""
    if dict not in set(map(type, observations)):
        return observations
    return [entry["p"] if isinstance(entry, dict) else entry for entry in observations]
