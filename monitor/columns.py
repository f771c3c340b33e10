"""Pairs as columns: what monitor.pairs.join says of one answer, for a page of them at once.

Rows come with the teacher's side filled in, so that every row is a student's answer that is complete.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import orjson

from ledger.answer_pages import NOTHING, Answered, decoded, plain
from ledger.configuration import TaskSection
from ledger.exchange import Outcome
from ledger.observation import ObservationError
from ledger.slices import OVERALL, SliceRule, header_value, word_band
from monitor.measures import Floats, Ints, Measures, measures_of
from monitor.pairs import INCOMPLETE, NO_TEACHER, NOT_MEASURED

NO_SLICE = -1  # code of a pair that a rule puts into no slice


@dataclass(frozen=True, slots=True)
class SliceColumn:
    """Which slice of one rule each pair belongs to."""

    rule: str
    names: tuple[str, ...]
    codes: Ints  # index into names, or NO_SLICE


@dataclass(frozen=True, slots=True)
class PairColumns:
    """Pairs of one task, one entry of every column for each, in order of arrival."""

    task: str
    classes: int
    artifacts: tuple[str, ...]
    artifact: Ints  # index into artifacts
    exchange_ids: tuple[str, ...]
    input_index: Ints
    at_us: Ints  # start of the exchange
    digests: tuple[str, ...]
    slices: tuple[SliceColumn, ...]  # the overall one first
    measures: Measures
    teacher_versions: tuple[str, ...]
    teacher_version: Ints  # index into teacher_versions

    def __len__(self) -> int:
        return len(self.exchange_ids)


@dataclass(frozen=True, slots=True)
class _Inputs:
    """What rows hold, decoded; one entry for each row."""

    words: list[list[int]]
    digests: list[list[str]]
    teacher: list[list[Any]]
    student: list[list[Any]]

    def flat(self) -> "_Flat":
        """One entry for each input instead; an observation that is missing becomes ABSENT."""
        counts = [len(words) for words in self.words]
        row = np.repeat(np.arange(len(counts)), counts)
        first = np.cumsum([0, *counts])[row]
        return _Flat(
            row=row,
            index=np.arange(len(row)) - first,
            words=list(chain.from_iterable(self.words)),
            digests=list(chain.from_iterable(self.digests)),
            teacher=plain(_padded(self.teacher, counts)),
            student=plain(_padded(self.student, counts)),
        )


@dataclass(frozen=True, slots=True)
class _Flat:
    """One entry for each input of every row."""

    row: Ints
    index: Ints
    words: list[int]
    digests: list[str]
    teacher: list[Any]  # probabilities, or the word of an ObservationError
    student: list[Any]

    def at(self, places: Ints) -> "_Flat":
        def pick(column: list[Any]) -> list[Any]:
            return [column[place] for place in places]

        return _Flat(
            self.row[places],
            self.index[places],
            pick(self.words),
            pick(self.digests),
            pick(self.teacher),
            pick(self.student),
        )


def pair_columns(rows: Sequence[Answered], task: TaskSection) -> tuple[PairColumns, Counter[str]]:
    """The pairs of these rows, and why their other inputs gave none."""
    unusable: Counter[str] = Counter()
    usable = _usable_rows(rows, unusable)
    flat = _usable_inputs(_decoded(usable).flat(), len(task.classes), unusable)
    return _columns(usable, flat, task), +unusable


def _usable_rows(rows: Sequence[Answered], unusable: Counter[str]) -> Sequence[Answered]:
    """Without those that may not count; their inputs are counted."""
    outcomes, teachers = {row.outcome for row in rows}, {row.teacher for row in rows}
    if outcomes <= {Outcome.COMPLETE} and all(row.measured for row in rows) and NOTHING not in teachers:
        return rows
    reasons = [_unusable_row(row) for row in rows]
    for row, reason in zip(rows, reasons, strict=True):
        if reason is not None:
            unusable[reason] += len(orjson.loads(row.input_words))
    return [row for row, reason in zip(rows, reasons, strict=True) if reason is None]


def _unusable_row(row: Answered) -> str | None:
    if row.outcome != Outcome.COMPLETE:
        return INCOMPLETE
    if not row.measured:
        return NOT_MEASURED
    return NO_TEACHER if row.teacher == NOTHING else None


def _decoded(rows: Sequence[Answered]) -> _Inputs:
    return _Inputs(
        words=decoded([row.input_words for row in rows]),
        digests=decoded([row.input_digests for row in rows]),
        teacher=decoded([row.teacher for row in rows]),
        student=decoded([row.observations for row in rows]),
    )


def _padded(observations: Sequence[list[Any]], counts: Sequence[int]) -> list[Any]:
    if list(map(len, observations)) == list(counts):
        return list(chain.from_iterable(observations))
    return [
        of_row[index] if index < len(of_row) else ObservationError.ABSENT
        for of_row, count in zip(observations, counts, strict=True)
        for index in range(count)
    ]


def _usable_inputs(flat: _Flat, classes: int, unusable: Counter[str]) -> _Flat:
    """Without those that one side failed; these are counted."""
    sides = (*flat.teacher, *flat.student)
    if set(map(type, sides)) <= {list} and set(map(len, sides)) <= {classes}:
        return flat
    kept = []
    for place, (teacher, student) in enumerate(zip(flat.teacher, flat.student, strict=True)):
        reason = _reason("teacher", teacher, classes) or _reason("student", student, classes)
        if reason is None:
            kept.append(place)
        else:
            unusable[reason] += 1
    return flat.at(np.array(kept, dtype=np.int64))


def _reason(side: str, observation: Any, classes: int) -> str | None:
    if isinstance(observation, str):
        return f"{side}_{ObservationError(observation)}"
    return f"{side}_{ObservationError.WRONG_CLASSES}" if len(observation) != classes else None


def _columns(rows: Sequence[Answered], flat: _Flat, task: TaskSection) -> PairColumns:
    places = flat.row.tolist()
    teacher, student = (_matrix(side, len(task.classes)) for side in (flat.teacher, flat.student))
    measures = measures_of(teacher, student)
    artifacts, artifact = _coded([row.responder for row in rows])
    versions, version = _coded([row.teacher_epoch for row in rows])
    exchange_ids = [row.exchange_id for row in rows]
    started = np.array([row.started_at_us for row in rows], dtype=np.int64)
    return PairColumns(
        task=task.name,
        classes=len(task.classes),
        artifacts=artifacts,
        artifact=artifact[flat.row],
        exchange_ids=tuple([exchange_ids[place] for place in places]),
        input_index=flat.index,
        at_us=started[flat.row],
        digests=tuple(flat.digests),
        slices=tuple(_slices(rows, flat, task, measures.teacher_top)),
        measures=measures,
        teacher_versions=versions,
        teacher_version=version[flat.row],
    )


def _matrix(observations: Sequence[list[float]], classes: int) -> Floats:
    numbers = np.fromiter(chain.from_iterable(observations), np.float64, len(observations) * classes)
    return numbers.reshape(len(observations), classes)


def _slices(
    rows: Sequence[Answered], flat: _Flat, task: TaskSection, teacher_top: Ints
) -> Iterator[SliceColumn]:
    """slices_of, column by column."""
    yield SliceColumn(OVERALL, (OVERALL,), np.zeros(len(flat.row), dtype=np.int64))
    for rule in task.rules:
        if rule.kind == "header":
            yield _by_header(rows, flat, rule)
        elif rule.kind == "words":
            edges = np.array(rule.word_edges, dtype=np.int64)
            codes = np.searchsorted(edges, np.array(flat.words, dtype=np.int64), side="right")
            lowest = (0, *rule.word_edges)  # a word count out of each band
            yield SliceColumn(rule.name, _names(rule, (word_band(edges.tolist(), n) for n in lowest)), codes)
        else:
            yield SliceColumn(rule.name, _names(rule, task.classes), teacher_top)


def _by_header(rows: Sequence[Answered], flat: _Flat, rule: SliceRule) -> SliceColumn:
    """Attributes of many rows are the same text: each text is read once."""
    texts, text = _coded([row.attributes for row in rows])
    values = [header_value(orjson.loads(attributes), rule.header) for attributes in texts]
    names, code = _coded([value for value in values if value is not None])
    codes = np.full(len(texts), NO_SLICE, dtype=np.int64)
    codes[[place for place, value in enumerate(values) if value is not None]] = code
    return SliceColumn(rule.name, _names(rule, names), codes[text][flat.row])


def _names(rule: SliceRule, values: Iterable[str]) -> tuple[str, ...]:
    return tuple(f"{rule.name}={value}" for value in values)


def _coded(values: Sequence[str]) -> tuple[tuple[str, ...], Ints]:
    """The distinct values in order of appearance, and for each value its index among them."""
    codes = {value: code for code, value in enumerate(dict.fromkeys(values))}
    return tuple(codes), np.fromiter(map(codes.__getitem__, values), np.int64, len(values))
