"""Logged exchanges as rows to learn from: what the pinned teacher answered, and nothing else.

Rows answered by a student are never targets: a student that learns from students forgets the teacher.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from ledger.configuration import TaskSection
from ledger.exchange import TEACHER, Answer, Exchange, Outcome
from ledger.exchange_file import answers_of, exchange_paths, exchanges_of_task, reading
from ledger.observation import Observation
from ledger.slices import slices_of, subject_of


class Unusable(StrEnum):
    """Why an input of an exchange is no row."""

    INCOMPLETE = "incomplete"  # the response was cut or failed
    NOT_ASKED = "not_asked"  # the student answered alone
    OTHER_TEACHER = "other_teacher"  # answered by a version that is not the pinned one
    NO_DISTRIBUTION = "no_distribution"  # the teacher's answer could not be read as one
    TEXT_NOT_KEPT = "text_not_kept"  # the task captures no inputs
    REPEATED = "repeated"  # the same text came before; its row counts it


@dataclass(frozen=True, slots=True)
class Row:
    """One distinct text with the teacher's answer."""

    digest: str  # of the text: the row's identity in every split
    exchange_id: str
    input_index: int
    at_us: int
    text: str
    teacher: Observation
    slices: tuple[str, ...]
    inclusion: float  # probability with which the teacher was asked
    repeats: int  # how often the text came
    words: int = 0
    emphasis: float = 1.0  # weight in training beside those that inclusion and repeats give


@dataclass(frozen=True, slots=True)
class Ingested:
    rows: tuple[Row, ...]  # in order of arrival
    unusable: Mapping[str, int]


def ingest(data_directory: Path, task: TaskSection) -> Ingested:
    """Every distinct text of the task that the pinned teacher answered, over all gateways."""
    rows: dict[str, Row] = {}
    unusable: Counter[str] = Counter()
    for found in _inputs(data_directory, task):
        if isinstance(found, Unusable):
            unusable[found] += 1
        elif found.digest in rows:
            unusable[Unusable.REPEATED] += 1
            rows[found.digest] = _counted_again(rows[found.digest])
        else:
            rows[found.digest] = found
    ordered = sorted(rows.values(), key=lambda row: (row.at_us, row.exchange_id, row.input_index))
    return Ingested(tuple(ordered), dict(unusable))


def _counted_again(row: Row) -> Row:
    return replace(row, repeats=row.repeats + 1)


def _inputs(data_directory: Path, task: TaskSection) -> Iterator[Row | Unusable]:
    for path in exchange_paths(data_directory):
        with reading(path) as connection:
            for exchange in exchanges_of_task(connection, task.name):
                teacher = exchange.teacher or _audit_answer(answers_of(connection, exchange.sequence))
                yield from rows_of(exchange, teacher, task)


def _audit_answer(answers: Iterable[Answer]) -> tuple[Observation, ...]:
    return next((answer.observations for answer in answers if answer.responder == TEACHER), ())


def rows_of(
    exchange: Exchange, teacher: tuple[Observation, ...], task: TaskSection
) -> Iterator[Row | Unusable]:
    """A row, or the reason why there is none, for each input of the exchange."""
    for index in range(len(exchange.input_digests)):
        observation = teacher[index] if index < len(teacher) else None
        if observation is None:
            yield Unusable.NOT_ASKED
        else:
            yield _unusable(exchange, index, observation, task) or _row(exchange, index, observation, task)


def _unusable(exchange: Exchange, index: int, teacher: Observation, task: TaskSection) -> Unusable | None:
    if exchange.outcome is not Outcome.COMPLETE:
        return Unusable.INCOMPLETE
    if exchange.teacher_epoch != task.teacher.version:
        return Unusable.OTHER_TEACHER
    if teacher.probabilities is None:
        return Unusable.NO_DISTRIBUTION
    if task.capture.inputs != "text" or not exchange.inputs[index]:
        return Unusable.TEXT_NOT_KEPT
    return None


def _row(exchange: Exchange, index: int, teacher: Observation, task: TaskSection) -> Row:
    return Row(
        digest=exchange.input_digests[index],
        exchange_id=exchange.exchange_id,
        input_index=index,
        at_us=exchange.started_at_us,
        text=exchange.inputs[index],
        teacher=teacher,
        slices=slices_of(task.rules, subject_of(exchange, index, task.classes[teacher.top])),
        inclusion=exchange.inclusion,
        repeats=1,
        words=exchange.input_words[index],
    )
