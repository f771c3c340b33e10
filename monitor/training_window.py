"""The stretch of the record that a successor should learn from after an alarm, and whether it holds enough rows."""

import math
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ledger.answer_pages import Answered
from ledger.around import answered_since, first_sequence_at
from ledger.exchange_file import reading
from ledger.slices import OVERALL
from monitor.sides import Question, slice_of, with_teacher_alone
from monitor.slicing import NO_SLICE

MOST_OF_A_SLICE = 0.30  # of a slice's rows that a gate takes; the rest is trained on
PAGE = 5000  # exchanges read at once
MOST_PAGES = 4  # of each exchange file


@dataclass(frozen=True, slots=True)
class TrainingWindow:
    """From the change to the alarm."""

    since_us: int
    until_us: int
    rows: int  # distinct texts of the slice that the pinned teacher answered, as far as was read
    is_least: bool  # there may be more: reading stopped
    wanted: int
    suffices: bool | None  # None: reading stopped below what is wanted
    enough_at_us: int | None  # when there will be enough at the rate of this stretch; None where unknown
    sentence: str


def rows_wanted(slice_rows: int) -> int:
    """Rows that a slice must have for its gate to hold `slice_rows` of them."""
    return math.ceil(slice_rows / MOST_OF_A_SLICE)


def training_window(
    paths: Iterable[Path], question: Question, since_us: int, until_us: int
) -> TrainingWindow:
    """What the record holds now. A file that cannot be read counts as empty."""
    gate = question.task.gate
    wanted = gate.train_rows + gate.rows if question.slice == OVERALL else rows_wanted(gate.slice_rows)
    digests: set[str] = set()
    is_least = False
    for path in paths if question.task.capture.inputs == "text" else ():
        with suppress(sqlite3.Error):
            is_least = _count(path, question, since_us, wanted, digests) or is_least
    rows = len(digests)
    suffices = True if rows >= wanted else None if is_least else False
    window = TrainingWindow(since_us, until_us, rows, is_least, wanted, suffices, None, "")
    window = replace(window, enough_at_us=_enough_at(window))
    return replace(window, sentence=_sentence(window, question))


def _count(path: Path, question: Question, since_us: int, wanted: int, digests: set[str]) -> bool:
    """Add the digests of the slice's rows; whether more was left unread."""
    with reading(path) as connection:
        sequence = first_sequence_at(connection, since_us)
        for _ in range(MOST_PAGES):
            whose = question.artifact, question.task.name, sequence, PAGE, question.reads_text
            page = answered_since(connection, *whose)
            digests |= _usable(page, question)
            if len(page) < PAGE:
                return False
            if len(digests) >= wanted:
                return True
            sequence = page[-1].sequence + 1
    return True


def _usable(page: Sequence[Answered], question: Question) -> set[str]:
    pinned = question.task.teacher.version
    columns = slice_of(with_teacher_alone(row for row in page if row.teacher_epoch == pinned), question)
    if columns is None:
        return set()
    places = np.flatnonzero(columns.slices[0].codes != NO_SLICE)
    return {columns.digests[place] for place in places}


def _enough_at(window: TrainingWindow) -> int | None:
    length = window.until_us - window.since_us
    if window.suffices is not False or not window.rows or length <= 0:
        return None
    return window.since_us + round(length * window.wanted / window.rows)


def _sentence(window: TrainingWindow, question: Question) -> str:
    if question.task.capture.inputs != "text":
        return f'capture.inputs = "{question.task.capture.inputs}": no texts are stored that a student could learn from'
    count = f"{'at least ' if window.is_least else ''}{window.rows} rows of {question.slice}"
    need = f"{window.wanted} are wanted to train and to judge a successor on it"
    if window.suffices is None:
        return f"{count} were counted and {need}; the record was not read further"
    return f"{count} since the change; {need}" + ("" if window.suffices else ", so it does not suffice yet")
