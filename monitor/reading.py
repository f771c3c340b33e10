"""Reads one gateway's exchange file beyond a position: the pairs that became complete there, each once.

A pair is complete with the later of two answers: the student's, and the teacher's when that one came by
audit. Which tick sees them makes no difference.
"""

import sqlite3
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ledger.answer_pages import (
    MAX_NUMBER,
    NOTHING,
    Answered,
    Columns,
    answers_upto,
    by_column,
    by_row,
    decoded,
    page_after,
)
from ledger.configuration import TaskSection
from ledger.exchange import TEACHER, Origin
from ledger.exchange_file import reading
from ledger.slices import SliceRule
from monitor.columns import PairColumns, joined, pair_columns

PAGE_ROWS = 4000  # answers folded together
PAGE_BYTES = 8 * 2**20  # of their observations: one request may hold many inputs of many classes
NO_TASK = "no_task"  # the exchange's task is not, or no longer, configured

Tasks = Mapping[str, TaskSection]
Rules = Mapping[str, Sequence[SliceRule]]  # task -> those of its rules that are asked


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of one exchange file a tick reads; it stops after the page that reaches any."""

    answers: int
    pairs: int
    probabilities: int = 4_000_000  # of either side: they stay in memory until the tick ends


@dataclass(frozen=True, slots=True)
class Arrivals:
    """What one exchange file showed."""

    position: int  # of the last answer read
    answers: int
    pairs: tuple[PairColumns, ...]
    unusable: Mapping[str, int]
    known: tuple[PairColumns, ...]  # of the exchanges asked about, complete up to `position`
    is_behind: bool  # a limit was reached, so more may wait


def read_arrivals(
    path: Path,
    position: int,
    limits: Limits,
    tasks: Tasks,
    asked_about: Collection[int] = (),
    rules: Rules | None = None,
    upto: int = MAX_NUMBER,
) -> Arrivals:
    """The pairs after `position` within the limits, and every pair of the exchanges `asked_about` up to there.

    Without `rules`, by the slices of every rule. No answer with a number above `upto` is read.
    """
    rules = {name: task.rules for name, task in tasks.items()} if rules is None else rules
    texts = any(rule.reads_text for some in rules.values() for rule in some)
    pairs: list[PairColumns] = []
    unusable: Counter[str] = Counter()
    answers, is_behind = 0, False
    with reading(path) as connection:
        while not is_behind:
            rows = min(PAGE_ROWS, limits.answers - answers)
            page = page_after(connection, position, rows, PAGE_BYTES, upto, texts)
            if not page["number"]:
                break
            position, answers = page["number"][-1], answers + len(page["number"])
            pairs += _pairs(_completed(connection, page, texts), tasks, rules, unusable)
            numbers = sum(len(columns) * columns.classes for columns in pairs)
            is_behind = (
                answers >= limits.answers
                or sum(map(len, pairs)) >= limits.pairs
                or numbers >= limits.probabilities
            )
        asked = answers_upto(connection, list(asked_about), position, texts)
        known = _pairs(by_column(_known(asked)), tasks, rules, Counter())
    return Arrivals(position, answers, _joined(pairs), dict(unusable), tuple(known), is_behind)


def _pairs(rows: Columns, tasks: Tasks, rules: Rules, unusable: Counter[str]) -> list[PairColumns]:
    """Columns for each task that has pairs; adds to `unusable` why other inputs gave none."""
    names = list(dict.fromkeys(rows["task"]))
    found = []
    for name in names:
        of_task = rows if len(names) == 1 else by_column([row for row in by_row(rows) if row.task == name])
        if name not in tasks:
            unusable[NO_TASK] += sum(map(len, decoded(of_task["input_words"])))
            continue
        columns, reasons = pair_columns(of_task, tasks[name], rules[name])
        unusable.update(reasons)
        if len(columns):
            found.append(columns)
    return found


def _joined(pages: Sequence[PairColumns]) -> tuple[PairColumns, ...]:
    """One for each task."""
    by_task: dict[str, list[PairColumns]] = {}
    for page in pages:
        by_task.setdefault(page.task, []).append(page)
    return tuple(map(joined, by_task.values()))


def _completed(connection: sqlite3.Connection, page: Columns, texts: bool) -> Columns:
    """The students' answers that became complete on this page, with the teacher's side filled in."""
    if NOTHING not in page["teacher"]:  # nearly always: nothing was or will be audited
        if TEACHER not in page["responder"] and Origin.REPLAY not in page["origin"]:
            return page
        return by_column([row for row in by_row(page) if row.is_live_student])
    return by_column(list(_audited(connection, by_row(page), texts)))


def _audited(connection: sqlite3.Connection, page: Sequence[Answered], texts: bool) -> Iterator[Answered]:
    """The same where some answers of the teacher come by audit."""
    audited = {row.sequence for row in page if row.measured and row.teacher == NOTHING}
    siblings = _by_exchange(answers_upto(connection, sorted(audited), page[-1].number, texts))
    for row in page:
        if row.teacher == NOTHING:
            earlier = [other for other in siblings.get(row.sequence, ()) if other.number < row.number]
            yield from _completed_late(row, earlier)
        elif row.is_live_student:
            yield row


def _completed_late(row: Answered, earlier: Sequence[Answered]) -> Iterator[Answered]:
    """The teacher was not asked on the caller's path: its audit and the student's answer come in any order."""
    if row.responder == TEACHER:
        yield from (_beside(student, row) for student in earlier if student.is_live_student)
    elif row.is_live_student:
        audit = next((other for other in earlier if other.responder == TEACHER), None)
        if audit is not None:
            yield _beside(row, audit)
        elif not row.measured or row.unpaired is not None:
            yield row  # no audit will come


def _known(rows: Sequence[Answered]) -> list[Answered]:
    """Every live answer of students with the teacher's side, where there is one."""
    found = []
    for of_exchange in _by_exchange(rows).values():
        audit = next((row for row in of_exchange if row.responder == TEACHER), None)
        for row in filter(lambda row: row.is_live_student, of_exchange):
            found.append(row if row.teacher != NOTHING or audit is None else _beside(row, audit))
    return found


def _beside(student: Answered, audit: Answered) -> Answered:
    return student._replace(teacher=audit.observations)


def _by_exchange(rows: Sequence[Answered]) -> dict[int, list[Answered]]:
    found: dict[int, list[Answered]] = {}
    for row in rows:
        found.setdefault(row.sequence, []).append(row)
    return found
