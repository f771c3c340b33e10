"""The record as rows: a stream over every gateway's file, of which only distinct texts stay in memory."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from distill.curation.gathering import Arrival, Gathering
from distill.curation.rows import ANONYMOUS, Ingested, Source, Unusable
from distill.curation.self_agreement import FirstTwoAnswers
from distill.curation.window import EVERYTHING, Window
from ledger.configuration import TaskSection
from ledger.exchange import TEACHER, Exchange, Outcome
from ledger.exchange_file import (
    exchange_paths,
    exchanges_of_task,
    exchanges_with_inputs,
    inputs_before,
    reading,
    teacher_answers,
)
from ledger.observation import Observation
from ledger.slices import subject_of

MOST_OTHER = 0.5  # share of the teacher's answer that may lie outside the task's classes

Labels = Mapping[tuple[str, int], str]  # (exchange, input) -> verified class: ledger.labels.every_label
Answered = tuple[int, str, tuple[Observation, ...]]  # as ledger.exchange_file.teacher_answers


class Asked(NamedTuple):
    """An exchange with all that the teacher said about it."""

    exchange: Exchange
    first: tuple[Observation, ...]  # on the path, or by audit
    second: tuple[Observation, ...]  # asked again


@dataclass(frozen=True, slots=True)
class _Terms:
    task: TaskSection
    window: Window
    labels: Labels


def ingest(
    data_directory: Path,
    task: TaskSection,
    window: Window = EVERYTHING,
    labels: Labels | None = None,
    replay: Collection[str] = (),
) -> Ingested:
    """Every distinct text of the window that the pinned teacher answered, over all gateways.

    `replay` has digests of rows that earlier students learned from: they are looked for before the window.
    """
    terms = _Terms(task, window, labels or {})
    now, before = Gathering(), Gathering()
    unusable: Counter[str] = Counter()
    agreement = FirstTwoAnswers()
    for path in exchange_paths(data_directory):
        with reading(path) as connection:
            exchanges = exchanges_of_task(connection, task.name, window.since_us)
            for found in _inputs(with_answers(exchanges, teacher_answers(connection)), terms):
                unusable.update(_gathered(found, now, agreement))
            if window.since_us > 0:
                unusable[Unusable.OUT_OF_WINDOW] += inputs_before(connection, task.name, window.since_us)
            if replay:
                older = exchanges_with_inputs(connection, task.name, replay, window.since_us)
                for found in _inputs(with_answers(older, teacher_answers(connection)), terms):
                    _gathered(found, before, None)
    rows, use = now.rows(task)
    replayed, _ = before.rows(task, Source.REPLAY, but=now)
    return Ingested(rows, dict(+unusable), replayed, window, agreement.found(), dict(+use))


def with_answers(exchanges: Iterable[Exchange], answers: Iterator[Answered]) -> Iterator[Asked]:
    """Join two streams, both in the order of the exchanges' sequence."""
    answer = next(answers, None)
    for exchange in exchanges:
        first: tuple[Observation, ...] = exchange.teacher
        second: tuple[Observation, ...] = ()
        while answer is not None and answer[0] <= exchange.sequence:
            sequence, responder, observations = answer
            if sequence == exchange.sequence and responder == TEACHER:
                first = first or observations
            elif sequence == exchange.sequence:
                second = observations
            answer = next(answers, None)
        yield Asked(exchange, first, second)


def _gathered(
    found: Arrival | Unusable, rows: Gathering, agreement: FirstTwoAnswers | None
) -> list[Unusable]:
    if isinstance(found, Unusable):
        return [found]
    if agreement is not None:
        for answer in found.answers:
            agreement.saw(found.digest, answer.top)
    return [] if rows.add(found) else [Unusable.REPEATED]


def _inputs(exchanges: Iterable[Asked], terms: _Terms) -> Iterator[Arrival | Unusable]:
    """An arrival, or the reason why there is none, for each input of each exchange."""
    for asked in exchanges:
        for index in range(len(asked.exchange.input_digests)):
            teacher = asked.first[index] if index < len(asked.first) else None
            if teacher is None:
                yield Unusable.NOT_ASKED
            else:
                yield _unusable(asked.exchange, index, teacher, terms) or _arrival(asked, index, terms)


def _unusable(exchange: Exchange, index: int, teacher: Observation, terms: _Terms) -> Unusable | None:
    task = terms.task
    if exchange.outcome is not Outcome.COMPLETE:
        return Unusable.INCOMPLETE
    if exchange.teacher_epoch != task.teacher.version:
        return Unusable.OTHER_TEACHER
    if exchange.started_at_us < terms.window.teacher_since_us:
        return Unusable.BEFORE_TEACHER_CHANGE
    if teacher.probabilities is None or len(teacher.probabilities) != len(task.classes):
        return Unusable.NO_DISTRIBUTION
    if teacher.other > MOST_OTHER:
        return Unusable.MOSTLY_OTHER
    if task.capture.inputs != "text" or not exchange.inputs[index].strip():
        return Unusable.TEXT_NOT_KEPT
    return None


def _arrival(asked: Asked, index: int, terms: _Terms) -> Arrival:
    exchange = asked.exchange
    return Arrival(
        digest=exchange.input_digests[index],
        exchange_id=exchange.exchange_id,
        input_index=index,
        at_us=exchange.started_at_us,
        text=exchange.inputs[index],
        subject=subject_of(exchange, index, None),
        words=exchange.input_words[index],
        answers=(asked.first[index], *_second(asked, index)),
        inclusion=exchange.inclusion,
        is_live=exchange.started_at_us >= terms.window.live_since_us,
        principal=exchange.subject or ANONYMOUS,
        label=terms.labels.get((exchange.exchange_id, index)),
    )


def _second(asked: Asked, index: int) -> tuple[Observation, ...]:
    again = asked.second[index] if index < len(asked.second) else None
    usable = again is not None and again.probabilities is not None
    width = len(asked.first[index].probabilities or ())
    return (again,) if again and usable and len(again.probabilities or ()) == width else ()
