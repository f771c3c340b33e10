"""Pairs as columns: what monitor.pairs.join says of one answer, for a page of them at once.

Rows come with the teacher's side filled in, so that every row is a student's answer that is complete.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import numpy as np
import orjson

from ledger.answer_pages import NOTHING, Answered, Columns, by_column, by_row, decoded, others, plain
from ledger.configuration import TaskSection
from ledger.exchange import Outcome, ServedBy
from ledger.observation import ObservationError
from ledger.slices import SliceRule
from ledger.spots import NOWHERE, SPOTS
from monitor.histograms import UNIT, Floats, Ints
from monitor.measures import Measures, joined_measures, measures_of
from monitor.pairs import INCOMPLETE, NO_TEACHER, NOT_MEASURED
from monitor.slicing import NO_SLICE, SliceColumn, Subjects, coded, overall_column, slice_columns

NO_LATENCY = -1  # of a teacher that did not answer on the caller's path

_ARRAYS = (  # of PairColumns; pages of them are joined end to end
    "input_index",
    "at_us",
    "words",
    "student_latency_us",
    "teacher_latency_us",
    "teacher_other",
    "student",
    "inclusion",
    "spots",
)


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
    words: Ints
    student_latency_us: Ints
    teacher_latency_us: Ints  # or NO_LATENCY
    teacher_other: Ints  # fixed point
    student: Floats  # [pairs, classes], as observed: true labels come later
    measures: Measures
    teacher_versions: tuple[str, ...]
    teacher_version: Ints  # index into teacher_versions
    inclusion: Floats  # probability with which both sides were asked
    spots: Ints  # in the student's embedding: ledger.spots

    def __len__(self) -> int:
        return len(self.exchange_ids)


@dataclass(frozen=True, slots=True)
class _Inputs:
    """What rows hold, decoded; one entry for each row."""

    words: list[list[int]]
    digests: list[list[str]]
    texts: list[list[str]]  # none at all where no rule reads them
    teacher: list[list[Any]]
    student: list[list[Any]]
    spots: list[list[int]]  # none at all where no student tells them

    def flat(self) -> "_Flat":
        """One entry for each input instead; an observation that is missing becomes ABSENT."""
        counts = [len(words) for words in self.words]
        row = np.repeat(np.arange(len(counts)), counts)
        first = np.cumsum([0, *counts])[row]
        teacher = _padded(self.teacher, counts, ObservationError.ABSENT)
        return _Flat(
            row=row,
            index=np.arange(len(row)) - first,
            words=list(chain.from_iterable(self.words)),
            digests=list(chain.from_iterable(self.digests)),
            texts=_padded(self.texts, counts, "") if self.texts else [""] * len(row),
            teacher=plain(teacher),
            student=plain(_padded(self.student, counts, ObservationError.ABSENT)),
            other=np.array(others(teacher)),
            spots=_known(_padded(self.spots, counts, NOWHERE) if self.spots else [NOWHERE] * len(row)),
        )


@dataclass(frozen=True, slots=True)
class _Flat:
    """One entry for each input of every row."""

    row: Ints
    index: Ints
    words: list[int]
    digests: list[str]
    texts: list[str]  # empty where none is stored
    teacher: list[Any]  # probabilities, or the word of an ObservationError
    student: list[Any]
    other: Floats  # what the teacher gave to no class
    spots: Ints  # or NOWHERE

    def at(self, places: Ints) -> "_Flat":
        def pick(column: list[Any]) -> list[Any]:
            return [column[place] for place in places]

        return _Flat(
            self.row[places],
            self.index[places],
            pick(self.words),
            pick(self.digests),
            pick(self.texts),
            pick(self.teacher),
            pick(self.student),
            self.other[places],
            self.spots[places],
        )


def without_overall(columns: PairColumns) -> PairColumns:
    """In the slices of the rules alone, where the overall one has counted these pairs already."""
    return replace(columns, slices=columns.slices[1:])


def pair_columns(
    rows: Columns, task: TaskSection, rules: Sequence[SliceRule] | None = None
) -> tuple[PairColumns, Counter[str]]:
    """The pairs of these rows by the slices of these rules, or of all; and why their other inputs gave none."""
    unusable: Counter[str] = Counter()
    usable = _usable_rows(rows, unusable)
    flat = _usable_inputs(_decoded(usable).flat(), len(task.classes), unusable)
    return _columns(usable, flat, task, task.rules if rules is None else rules), +unusable


def _usable_rows(columns: Columns, unusable: Counter[str]) -> Columns:
    """Without those that may not count; their inputs are counted."""
    complete = set(columns["outcome"]) <= {Outcome.COMPLETE} and all(columns["measured"])
    if complete and NOTHING not in columns["teacher"]:
        return columns
    usable = []
    for row in by_row(columns):
        reason = _unusable_row(row)
        if reason is None:
            usable.append(row)
        else:
            unusable[reason] += len(orjson.loads(row.input_words))
    return by_column(usable)


def _unusable_row(row: Answered) -> str | None:
    if row.outcome != Outcome.COMPLETE:
        return INCOMPLETE
    if not row.measured:
        return NOT_MEASURED
    return NO_TEACHER if row.teacher == NOTHING else None


def _decoded(rows: Columns) -> _Inputs:
    return _Inputs(
        words=decoded(rows["input_words"]),
        digests=decoded(rows["input_digests"]),
        texts=decoded(rows["inputs"]) if set(rows["inputs"]) != {NOTHING} else [],
        teacher=decoded(rows["teacher"]),
        student=decoded(rows["observations"]),
        spots=decoded(rows["spots"]) if set(rows["spots"]) != {NOTHING} else [],
    )


def _known(spots: Sequence[int]) -> Ints:
    """What is no spot of this release is none."""
    found = np.array(spots, dtype=np.int64)
    return np.where((found >= 0) & (found < SPOTS), found, NOWHERE)


def _padded(columns: Sequence[list[Any]], counts: Sequence[int], missing: Any) -> list[Any]:
    if list(map(len, columns)) == list(counts):
        return list(chain.from_iterable(columns))
    return [
        of_row[index] if index < len(of_row) else missing
        for of_row, count in zip(columns, counts, strict=True)
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


def _columns(rows: Columns, flat: _Flat, task: TaskSection, rules: Sequence[SliceRule]) -> PairColumns:
    teacher, student = (_matrix(side, len(task.classes)) for side in (flat.teacher, flat.student))
    measures = measures_of(teacher, student)
    artifacts, artifact = coded(rows["responder"])
    versions, version = coded(rows["teacher_epoch"])
    exchange_ids = rows["exchange_id"]
    at_us = np.array(rows["started_at_us"], dtype=np.int64)[flat.row]
    texts, text = coded(rows["attributes"])  # many rows have the same: each is read once
    subjects = Subjects(
        decoded(texts), text[flat.row], flat.words, flat.texts, at_us, measures.teacher_top, task.classes
    )
    return PairColumns(
        task=task.name,
        classes=len(task.classes),
        artifacts=artifacts,
        artifact=artifact[flat.row],
        exchange_ids=tuple([exchange_ids[place] for place in flat.row.tolist()]),
        input_index=flat.index,
        at_us=at_us,
        digests=tuple(flat.digests),
        slices=(overall_column(len(flat.row)), *slice_columns(rules, subjects)),
        words=np.array(flat.words, dtype=np.int64),
        student_latency_us=np.array(rows["latency_us"], dtype=np.int64)[flat.row],
        teacher_latency_us=_teacher_latency(rows)[flat.row],
        teacher_other=np.rint(flat.other * UNIT).astype(np.int64),
        student=student,
        measures=measures,
        teacher_versions=versions,
        teacher_version=version[flat.row],
        inclusion=np.array(rows["inclusion"], dtype=np.float64)[flat.row],
        spots=flat.spots,
    )


def _teacher_latency(rows: Columns) -> Ints:
    by_teacher = np.array([served_by == ServedBy.TEACHER for served_by in rows["served_by"]], dtype=np.bool_)
    return np.where(by_teacher, np.array(rows["duration_us"], dtype=np.int64), NO_LATENCY)


def joined(pages: Sequence[PairColumns]) -> PairColumns:
    """The pairs of several pages of one task, in their order."""
    if len(pages) == 1:
        return pages[0]
    artifacts, artifact = _recoded([(page.artifacts, page.artifact) for page in pages])
    versions, version = _recoded([(page.teacher_versions, page.teacher_version) for page in pages])
    return PairColumns(
        task=pages[0].task,
        classes=pages[0].classes,
        artifacts=artifacts,
        artifact=artifact,
        exchange_ids=tuple(chain.from_iterable(page.exchange_ids for page in pages)),
        digests=tuple(chain.from_iterable(page.digests for page in pages)),
        slices=tuple(
            SliceColumn(of_rule[0].rule, *_recoded([(part.names, part.codes) for part in of_rule]))
            for of_rule in zip(*(page.slices for page in pages), strict=True)
        ),
        measures=joined_measures([page.measures for page in pages]),
        teacher_versions=versions,
        teacher_version=version,
        **{name: np.concatenate([getattr(page, name) for page in pages]) for name in _ARRAYS},
    )


def _recoded(parts: Sequence[tuple[tuple[str, ...], Ints]]) -> tuple[tuple[str, ...], Ints]:
    """Names of several lists of names as one, and their codes among those."""
    names: dict[str, int] = {}
    codes = []
    for of_part, found in parts:
        table = np.array(
            [names.setdefault(name, len(names)) for name in of_part] + [NO_SLICE], dtype=np.int64
        )
        codes.append(table[found])  # NO_SLICE is the last entry, from the end too
    return tuple(names), np.concatenate(codes)


def _matrix(observations: Sequence[list[float]], classes: int) -> Floats:
    numbers = np.fromiter(chain.from_iterable(observations), np.float64, len(observations) * classes)
    return numbers.reshape(len(observations), classes)
