"""What the record holds on either side of a change: exchanges as they ended, and one slice's distinct inputs as sums.

Read when an alarm is raised, from the exchange files alone and outside any transaction.
"""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from ledger.answer_pages import NOTHING, Answered, by_column
from ledger.around import answered_before, answered_since, first_sequence_at
from ledger.configuration import TaskSection
from ledger.exchange_file import reading
from ledger.slices import OVERALL, SliceRule, rule_of
from monitor.cardinality import SliceNames, bounded
from monitor.columns import PairColumns, pair_columns
from monitor.folding import pair_sums
from monitor.histograms import Bools
from monitor.layout import sums_of_row
from monitor.slicing import NO_SLICE, SliceColumn
from monitor.sums import SliceSums, merged
from monitor.troubles import troubles_of

MOST_EXCHANGES = 5000  # read on each side, those nearest to the change
ALL_TIME_SECONDS = 10**9  # one window for everything
OF_THE_CALLER = ("header", "pointer")  # kinds of rules whose mix of values is compared


@dataclass(frozen=True, slots=True)
class Question:
    """Whose inputs are looked at: one slice of one student."""

    task: TaskSection
    artifact: str
    slice: str
    max_tokens: int | None  # that the student reads of an input; None where its manifest cannot be read
    names: SliceNames  # of the student: values beyond them are `other`

    @property
    def rule(self) -> SliceRule | None:
        """None for the overall slice."""
        return rule_of(self.task.rules, self.slice)

    @property
    def rules(self) -> tuple[SliceRule, ...]:
        """The rule of the slice, and those whose mix is compared."""
        others = [rule for rule in self.task.rules if rule.kind in OF_THE_CALLER and rule != self.rule]
        return (*([self.rule] if self.rule else []), *others)

    @property
    def reads_text(self) -> bool:
        return any(rule.reads_text for rule in self.rules)


@dataclass(frozen=True, slots=True)
class Version:
    """Answers of one teacher version."""

    exchanges: int
    first_us: int
    last_us: int


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a change, as far as it was read."""

    exchanges: int = 0  # of the task, whatever their slice
    first_us: int | None = None
    last_us: int | None = None
    troubles: Mapping[str, int] = field(
        default_factory=dict
    )  # exchanges that did not end as a pair, by reason
    versions: Mapping[str, Version] = field(default_factory=dict)  # of the teacher
    sums: SliceSums = field(default_factory=SliceSums)  # of the slice's distinct inputs that both answered
    mixes: Mapping[str, Mapping[str, int]] = field(
        default_factory=dict
    )  # rule -> slice -> how many of those inputs
    long_inputs: int = 0  # of those, with more words than the student reads tokens


def sides_of(
    paths: Iterable[Path], question: Question, change_us: int, since_us: int
) -> tuple[Side, Side, list[str]]:
    """Before the change, but not before `since_us`; since the change; and which files could not be read."""
    before, after, problems = rows_around(paths, question, change_us, since_us, question.reads_text)
    return side_of(before, question), side_of(after, question), problems


def rows_around(
    paths: Iterable[Path], question: Question, change_us: int, since_us: int, texts: bool
) -> tuple[list[Answered], list[Answered], list[str]]:
    """The exchanges of both sides in order of time, whatever their slice."""
    before: list[Answered] = []
    after: list[Answered] = []
    problems: list[str] = []
    for path in paths:
        try:
            some_before, some_after = _read(path, question, change_us, texts)
        except sqlite3.Error as error:
            problems.append(f"{path.name} cannot be read: {error}")
        else:
            before += some_before
            after += some_after
    before = [row for row in before if row.started_at_us >= since_us]
    before.sort(key=_started)
    after.sort(key=_started)
    return before[-MOST_EXCHANGES:], after[:MOST_EXCHANGES], problems


def _read(
    path: Path, question: Question, change_us: int, texts: bool
) -> tuple[list[Answered], list[Answered]]:
    with reading(path) as connection:
        middle = first_sequence_at(connection, change_us)
        whose = question.artifact, question.task.name, middle, MOST_EXCHANGES, texts
        return answered_before(connection, *whose), answered_since(connection, *whose)


def side_of(rows: Sequence[Answered], question: Question) -> Side:
    """`rows` in order of time."""
    if not rows:
        return Side()
    side = Side(
        exchanges=len(rows),
        first_us=rows[0].started_at_us,
        last_us=rows[-1].started_at_us,
        troubles=troubles_of(rows),
        versions=_versions(rows),
    )
    columns = slice_of([row for row in rows if row.observations != NOTHING], question)
    if columns is None:
        return side
    inside = columns.slices[0].codes != NO_SLICE
    return replace(
        side,
        sums=_sums(columns),
        mixes={column.rule: _mix(column, inside) for column in columns.slices[1:]},
        long_inputs=int((columns.words[inside] > (question.max_tokens or np.inf)).sum()),
    )


def with_teacher_alone(rows: Iterable[Answered]) -> list[Answered]:
    """Rows that the teacher answered, whether the student did or not: its answer stands in for the student's."""
    return [row._replace(observations=row.teacher, measured=1) for row in rows if row.teacher != NOTHING]


def slice_of(rows: Sequence[Answered], question: Question) -> PairColumns | None:
    """The pairs of these rows; the first of their slices holds the distinct inputs of the slice, each once."""
    if not rows:
        return None
    columns, _ = pair_columns(by_column(rows), question.task, question.rules)
    columns = bounded(columns, question.task, {question.artifact: question.names})
    inside = _first_of_each(columns) & _in_slice(columns, question)
    chosen = SliceColumn(OVERALL, (question.slice,), np.where(inside, 0, NO_SLICE))
    own = question.rule.name if question.rule else OVERALL
    return replace(
        columns, slices=(chosen, *(column for column in columns.slices if column.rule not in (own, OVERALL)))
    )


def _in_slice(columns: PairColumns, question: Question) -> Bools:
    if question.slice == OVERALL:
        return np.ones(len(columns), dtype=np.bool_)
    column = next((c for c in columns.slices if question.rule and c.rule == question.rule.name), None)
    if column is None or question.slice not in column.names:
        return np.zeros(len(columns), dtype=np.bool_)
    found: Bools = column.codes == column.names.index(question.slice)
    return found


def _first_of_each(columns: PairColumns) -> Bools:
    """Identical inputs count once: a client's retries are no evidence."""
    found = np.zeros(len(columns), dtype=np.bool_)
    found[list({digest: place for place, digest in reversed(list(enumerate(columns.digests)))}.values())] = (
        True
    )
    return found


def _sums(columns: PairColumns) -> SliceSums:
    chosen = replace(columns, slices=columns.slices[:1])
    return merged(map(sums_of_row, pair_sums(chosen, ALL_TIME_SECONDS).values()))


def _mix(column: SliceColumn, inside: Bools) -> dict[str, int]:
    codes = column.codes[inside & (column.codes != NO_SLICE)]
    counts = np.bincount(codes, minlength=len(column.names)).tolist()
    return {name: count for name, count in zip(column.names, counts, strict=True) if count}


def _versions(rows: Sequence[Answered]) -> dict[str, Version]:
    """Of exchanges that the teacher answered."""
    times: dict[str, list[int]] = {}
    for row in rows:
        if row.teacher != NOTHING:
            times.setdefault(row.teacher_epoch, []).append(row.started_at_us)
    return {version: Version(len(some), min(some), max(some)) for version, some in times.items()}


def _started(row: Answered) -> int:
    return row.started_at_us
