"""Answers page by page, with what statistics need of their exchanges and nothing else.

Lists stay the JSON text that they are stored as: whoever folds thousands of rows decodes a page at a time.
"""

import sqlite3
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import chain
from typing import Any, NamedTuple

import orjson

from ledger.exchange import TEACHER, Origin

ROWS_A_READ = 250
NOTHING = "[]"  # the stored form of no observations
MAX_NUMBER = 2**63 - 1  # of an answer

_SETTING = "a.responder, a.origin, e.task, e.outcome, e.measured, e.unpaired, e.served_by, e.teacher_epoch"
_OWN = (
    "a.number, a.observations, e.sequence, e.exchange_id, e.started_at_us, a.latency_us, e.duration_us,"
    " e.attributes, e.input_words, e.input_digests, e.teacher, e.inclusion * a.inclusion, a.spots"
)
# What most rows share is compared inside SQLite: to make eight texts of each takes longer than all else of a row.
_IF_OTHER = (
    f"CASE WHEN ({_SETTING}) IS (?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11) THEN NULL ELSE json_array({_SETTING}) END"
)
_FROM = "FROM answer a JOIN exchange e ON e.sequence = a.exchange_sequence"
_AFTER = f"{_FROM} WHERE a.number > ?1 AND a.number <= ?2 ORDER BY a.number LIMIT ?3"
_OF_EXCHANGES = (
    f"{_FROM}"
    " WHERE a.exchange_sequence IN (SELECT value FROM json_each(?)) AND a.number <= ?"
    " ORDER BY a.exchange_sequence, a.number"
)


class Answered(NamedTuple):
    """An answer beside its exchange. `observations`, `attributes`, the inputs' and `teacher` are JSON text.

    First its setting, which most rows share with their neighbours, then what is its own.
    """

    responder: str  # artifact id, TEACHER or TEACHER_AGAIN
    origin: str
    task: str
    outcome: str
    measured: int  # 0 or 1
    unpaired: str | None
    served_by: str
    teacher_epoch: str  # the version that answered, or that was pinned
    number: int  # order of arrival
    observations: str
    sequence: int
    exchange_id: str
    started_at_us: int
    latency_us: int  # of the answer
    duration_us: int  # of the exchange
    attributes: str
    input_words: str
    input_digests: str
    teacher: str  # observations on the caller's path; NOTHING where the teacher was not asked
    inclusion: float = 1.0  # probability with which both were asked: the audit's share times the shadow's
    spots: str = NOTHING  # of the inputs in the student's embedding; NOTHING where it does not tell them
    inputs: str = NOTHING  # the texts; NOTHING where nobody asked for them

    @property
    def is_live_student(self) -> bool:
        """Compared with the teacher: a student's, or the teacher's own second answer."""
        return self.responder != TEACHER and self.origin != Origin.REPLAY


_answered = partial(tuple.__new__, Answered)  # Answered._make without its checks: the columns are our own

Columns = Mapping[str, Sequence[Any]]  # of Answered, by field
SETTING = Answered._fields[:8]  # as _SETTING
OWN = Answered._fields[8:]  # as _OWN


def page_after(
    connection: sqlite3.Connection,
    number: int,
    rows: int,
    size: int,
    upto: int = MAX_NUMBER,
    texts: bool = False,
) -> Columns:
    """The next answers in order of arrival: up to the number `upto`, at most `rows`, and about `size` bytes."""
    first = connection.execute(f"SELECT {_SETTING} {_AFTER}", (number, upto, min(rows, 1))).fetchone()
    if first is None:
        return by_column(())
    parts: list[tuple[Any, ...]] = []
    query = f"SELECT {_IF_OTHER}, {_own(texts)} {_AFTER}"
    cursor = connection.execute(query, (number, upto, rows, *first))
    while size > 0 and (read := cursor.fetchmany(ROWS_A_READ)):
        parts.append(tuple(zip(*read, strict=True)))
        own = dict(zip(OWN, parts[-1][1:], strict=True))
        size -= sum(map(len, chain(own["observations"], own["teacher"], own["inputs"])))
    settings, *columns = (tuple(chain.from_iterable(of_parts)) for of_parts in zip(*parts, strict=True))
    return {**_settings(settings, first), **dict(zip(OWN, columns, strict=True))}


def _settings(texts: Sequence[str | None], first: tuple[Any, ...]) -> Columns:
    """The columns that rows share: those of the first row, where SQLite did not say otherwise."""
    if not any(texts):
        return {name: (value,) * len(texts) for name, value in zip(SETTING, first, strict=True)}
    known = {text: first if text is None else orjson.loads(text) for text in set(texts)}
    return dict(zip(SETTING, zip(*map(known.__getitem__, texts), strict=True), strict=True))


def by_column(rows: Sequence[Answered]) -> Columns:
    """Of each field, what all rows have."""
    columns = zip(*rows, strict=True) if rows else ((),) * len(Answered._fields)
    return dict(zip(Answered._fields, columns, strict=True))


def by_row(columns: Columns) -> list[Answered]:
    """The inverse."""
    return list(map(_answered, zip(*columns.values(), strict=True)))


def answers_upto(
    connection: sqlite3.Connection, sequences: Sequence[int], number: int, texts: bool = False
) -> list[Answered]:
    """Every answer to these exchanges that had arrived by `number`, exchange by exchange, in order of arrival."""
    if not sequences:
        return []
    asked = orjson.dumps(list(sequences)).decode()
    rows = connection.execute(f"SELECT {_SETTING}, {_own(texts)} {_OF_EXCHANGES}", (asked, number))
    return list(map(_answered, rows))


def _own(texts: bool) -> str:
    return f"{_OWN}, {'e.inputs' if texts else repr(NOTHING)}"


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
