"""Which words a slice's inputs use more or less often since a change: read again whenever somebody asks, never kept.

Words are content. What was erased or removed from the record meanwhile is therefore not told either.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson

from ledger.answer_pages import Answered
from monitor.features import ALPHA, LEAST_CHANGE
from monitor.intervals import holm, more_often_p_value
from monitor.sides import Question, rows_around, slice_of, with_teacher_alone
from monitor.slicing import NO_SLICE

WORD = re.compile(
    r"[^\W\d_]{2,40}"
)  # letters of any script; numbers name people and things more often than kinds
LEAST_INPUTS = 5  # that use a word, on both sides together; a rarer one is its author's
MOST_WORDS = 20  # told


@dataclass(frozen=True, slots=True)
class WordMoved:
    """A word whose share of inputs changed."""

    word: str
    then: int  # distinct inputs that use it ...
    of_then: int  # ... of so many
    now: int
    of_now: int
    p_value: float

    @property
    def change(self) -> float:
        return self.now / self.of_now - self.then / self.of_then


def words_moved(then: Sequence[str], now: Sequence[str]) -> list[WordMoved]:
    """The words that moved most, by Fisher's exact test in both directions and Holm over all of them."""
    if not then or not now:
        return []
    before, after = _inputs_by_word(then), _inputs_by_word(now)
    words = sorted(word for word in {*before, *after} if before[word] + after[word] >= LEAST_INPUTS)
    found = [_moved(word, before[word], len(then), after[word], len(now)) for word in words]
    sure = holm([one.p_value for one in found], ALPHA)
    moved = [
        one for one, is_sure in zip(found, sure, strict=True) if is_sure and abs(one.change) >= LEAST_CHANGE
    ]
    return sorted(moved, key=lambda one: (-abs(one.change), one.word))[:MOST_WORDS]


def texts_around(
    paths: Iterable[Path], question: Question, change_us: int, since_us: int
) -> tuple[list[str], list[str]]:
    """Distinct stored texts of the slice before the change and since it, answered by the teacher."""
    before, after, _ = rows_around(paths, question, change_us, since_us, texts=True)
    return _texts(before, question), _texts(after, question)


def _texts(rows: Sequence[Answered], question: Question) -> list[str]:
    columns = slice_of(with_teacher_alone(rows), question)
    if columns is None:
        return []
    places = np.flatnonzero(columns.slices[0].codes != NO_SLICE).tolist()
    stored = {row.exchange_id: row.inputs for row in rows}
    inputs = [
        (orjson.loads(stored[columns.exchange_ids[place]]), int(columns.input_index[place]))
        for place in places
    ]
    return [texts[index] for texts, index in inputs if index < len(texts) and texts[index]]


def _inputs_by_word(texts: Iterable[str]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(set(WORD.findall(text.lower())))
    return counts


def _moved(word: str, then: int, of_then: int, now: int, of_now: int) -> WordMoved:
    more = more_often_p_value(then, of_then, now, of_now)
    less = more_often_p_value(now, of_now, then, of_then)
    return WordMoved(word, then, of_then, now, of_now, min(1.0, 2 * min(more, less)))
