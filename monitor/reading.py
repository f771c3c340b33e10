"""Reads one gateway's exchange file beyond a position: the pairs that became complete there, each once.

A pair is complete with the later of two answers: the student's, and the teacher's when that one came by
audit. Which tick sees them makes no difference.
"""

import sqlite3
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ledger.configuration import TaskSection
from ledger.exchange import TEACHER, Answer, Exchange, Origin
from ledger.exchange_file import ANSWER_COLUMNS, answers_after, exchange_at, read_answer, reading
from monitor.pairs import Joined, Pair, join, teacher_observations_of

CHUNK = 500  # rows in memory at once: their texts may be long
NO_TASK = "no_task"  # the exchange's task is not, or no longer, configured

Tasks = Mapping[str, TaskSection]
Numbered = tuple[int, Answer]


@dataclass(frozen=True, slots=True)
class TaskPair:
    """A pair with the task that it belongs to."""

    task: str
    pair: Pair


@dataclass(frozen=True, slots=True)
class Arrivals:
    """What one exchange file showed."""

    position: int  # of the last answer read
    answers: int
    pairs: tuple[TaskPair, ...]
    unusable: Mapping[str, int]
    known: tuple[TaskPair, ...]  # of the exchanges asked about, complete up to `position`


def read_arrivals(
    path: Path, position: int, limit: int, tasks: Tasks, asked_about: Collection[int] = ()
) -> Arrivals:
    """At most `limit` answers after `position`, and every pair of the exchanges `asked_about` up to there."""
    pairs: list[TaskPair] = []
    unusable: Counter[str] = Counter()
    answers = 0
    with reading(path) as connection:
        while rows := answers_after(connection, position, min(CHUNK, limit - answers)):
            position, answers = rows[-1][0], answers + len(rows)
            for task, joined in _joined(connection, rows, tasks):
                pairs.extend(TaskPair(task, pair) for pair in joined.pairs)
                unusable.update(joined.unusable)
            if answers >= limit:
                break
        known = tuple(
            pair for sequence in asked_about for pair in _pairs_at(connection, sequence, position, tasks)
        )
    return Arrivals(position, answers, tuple(pairs), dict(unusable), known)


def _joined(
    connection: sqlite3.Connection, rows: Sequence[tuple[int, Answer, Exchange]], tasks: Tasks
) -> Iterator[tuple[str, Joined]]:
    audited = [e.sequence for _, _, e in rows if e.measured and not e.teacher]
    siblings = _answers_of(connection, audited)
    for number, answer, exchange in rows:
        task = tasks.get(exchange.task)
        if task is None:
            yield exchange.task, Joined((), {NO_TASK: len(exchange.input_words)})
            continue
        earlier = [a for n, a in siblings.get(exchange.sequence, ()) if n < number]
        yield from ((task.name, joined) for joined in _completed_by(answer, exchange, earlier, task))


def _completed_by(
    answer: Answer, exchange: Exchange, earlier: Sequence[Answer], task: TaskSection
) -> Iterator[Joined]:
    """The pairs that this answer completes, given those that came before it."""
    if answer.responder == TEACHER:
        if not exchange.teacher:
            for student in filter(_is_live_student, earlier):
                yield join(exchange, student, answer.observations, task.rules, task.classes)
    elif _is_live_student(answer) and not _awaits_audit(exchange, earlier):
        teacher = teacher_observations_of(exchange, earlier)
        yield join(exchange, answer, teacher, task.rules, task.classes)


def _is_live_student(answer: Answer) -> bool:
    return answer.responder != TEACHER and answer.origin is not Origin.REPLAY


def _awaits_audit(exchange: Exchange, earlier: Sequence[Answer]) -> bool:
    return exchange.measured and exchange.unpaired is None and not teacher_observations_of(exchange, earlier)


def _pairs_at(
    connection: sqlite3.Connection, sequence: int, position: int, tasks: Tasks
) -> Iterator[TaskPair]:
    exchange = exchange_at(connection, sequence)
    task = tasks.get(exchange.task) if exchange else None
    if exchange is None or task is None:
        return
    answers = [a for n, a in _answers_of(connection, [sequence]).get(sequence, ()) if n <= position]
    teacher = teacher_observations_of(exchange, answers)
    for answer in filter(_is_live_student, answers):
        for pair in join(exchange, answer, teacher, task.rules, task.classes).pairs:
            yield TaskPair(task.name, pair)


def _answers_of(connection: sqlite3.Connection, sequences: Sequence[int]) -> dict[int, list[Numbered]]:
    """Every answer to these exchanges with its number, in order of arrival."""
    marks = ", ".join("?" * len(sequences))
    rows = connection.execute(
        f"SELECT {ANSWER_COLUMNS} FROM answer a WHERE a.exchange_sequence IN ({marks}) ORDER BY a.number",
        tuple(sequences),
    )
    found: dict[int, list[Numbered]] = {}
    for row in rows:
        answer = read_answer(row)
        found.setdefault(answer.exchange_sequence, []).append((row[0], answer))
    return found
