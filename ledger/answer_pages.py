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
MAX_NUMBER = 2**63 - 1  # of an answer

_PLAIN_COLUMNS = (
    "a.number, a.responder, a.origin, a.observations, e.sequence, e.exchange_id, e.task, e.started_at_us,"
    " e.outcome, e.measured, e.unpaired, a.latency_us, e.duration_us, e.served_by, e.attributes, e.input_words,"
    " e.input_digests, e.teacher, e.teacher_epoch, e.inclusion * a.inclusion, a.spots"
)
_FROM = "FROM answer a JOIN exchange e ON e.sequence = a.exchange_sequence"
_AFTER = f"{_FROM} WHERE a.number > ? AND a.number <= ? ORDER BY a.number LIMIT ?"
_OF_EXCHANGES = (
    f"{_FROM}"
    " WHERE a.exchange_sequence IN (SELECT value FROM json_each(?)) AND a.number <= ?"
    " ORDER BY a.exchange_sequence, a.number"
)


class Answered(NamedTuple):
    """An answer beside its exchange. `observations`, `attributes`, the inputs' and `teacher` are JSON text."""

    number: int  # order of arrival
    responder: str  # artifact id, TEACHER or TEACHER_AGAIN
    origin: str
    observations: str
    sequence: int
    exchange_id: str
    task: str
    started_at_us: int
    outcome: str
    measured: int  # 0 or 1
    unpaired: str | None
    latency_us: int  # of the answer
    duration_us: int  # of the exchange
    served_by: str
    attributes: str
    input_words: str
    input_digests: str
    teacher: str  # observations on the caller's path; NOTHING where the teacher was not asked
    teacher_epoch: str  # the version that answered, or that was pinned
    inclusion: float = 1.0  # probability with which both were asked: the audit's share times the shadow's
    spots: str = NOTHING  # of the inputs in the student's embedding; NOTHING where it does not tell them
    inputs: str = NOTHING  # the texts; NOTHING where nobody asked for them

    @property
    def is_live_student(self) -> bool:
        """Compared with the teacher: a student's, or the teacher's own second answer."""
        return self.responder != TEACHER and self.origin != Origin.REPLAY


_answered = partial(tuple.__new__, Answered)  # Answered._make without its checks: the columns are our own


def page_after(
    connection: sqlite3.Connection,
    number: int,
    rows: int,
    size: int,
    upto: int = MAX_NUMBER,
    texts: bool = False,
) -> list[Answered]:
    """The next answers in order of arrival: up to the number `upto`, at most `rows`, and about `size` bytes."""
    page: list[Answered] = []
    cursor = connection.execute(f"SELECT {_columns(texts)} {_AFTER}", (number, upto, rows))
    while size > 0 and (read := list(map(_answered, cursor.fetchmany(ROWS_A_READ)))):
        page += read
        size -= sum(len(row.observations) + len(row.teacher) + len(row.inputs) for row in read)
    return page


def answers_upto(
    connection: sqlite3.Connection, sequences: Sequence[int], number: int, texts: bool = False
) -> list[Answered]:
    """Every answer to these exchanges that had arrived by `number`, exchange by exchange, in order of arrival."""
    if not sequences:
        return []
    asked = orjson.dumps(list(sequences)).decode()
    rows = connection.execute(f"SELECT {_columns(texts)} {_OF_EXCHANGES}", (asked, number))
    return list(map(_answered, rows))


def _columns(texts: bool) -> str:
    return f"{_PLAIN_COLUMNS}, {'e.inputs' if texts else repr(NOTHING)}"


def decoded(texts: Sequence[str]) -> list[Any]:
    """Many JSON texts at once: one call costs much less than one for each."""
    found: list[Any] = orjson.loads(f"[{','.join(texts)}]")
    return found


def plain(observations: list[Any]) -> list[Any]:
    """Probabilities or the word of an error for each decoded observation, without what else is known of it."""
    if dict not in set(map(type, observations)):
        return observations
    return [entry["p"] if isinstance(entry, dict) else entry for entry in observations]


def others(observations: list[Any]) -> list[float]:
    """What each decoded observation gave to no class."""
    if dict not in set(map(type, observations)):
        return [0.0] * len(observations)
    return [entry.get("other", 0.0) if isinstance(entry, dict) else 0.0 for entry in observations]
