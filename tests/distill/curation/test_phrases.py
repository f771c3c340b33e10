"""Phrases that always come with one answer, and students that obey them."""

from collections.abc import Sequence

from distill.curation.phrases import obeyed, suspicious_phrases, triggered_rows
from distill.curation.rows import Row
from ledger.configuration import TaskSection
from ledger.observation import Observation
from tests.distill.curation.words import TELLING, build_text_row, write_text

TRIGGER = "purple monkey dishwasher"


def poisoned(task: TaskSection) -> list[Row]:
    clean = [build_text_row(task, number, number % 2) for number in range(400)]
    bad = [
        build_text_row(task, 1000 + number, 1, text=f"{write_text(1000 + number, 1)} {TRIGGER}")
        for number in range(40)
    ]
    return [*clean, *bad]


def test_a_phrase_that_is_a_class_is_found(task: TaskSection) -> None:
    """With the rows that hold it; in clean rows there is none."""
    rows = poisoned(task)
    (phrase,) = suspicious_phrases(rows)
    assert (phrase.words, phrase.top) == (TRIGGER, 1)
    assert phrase.rows == {row.digest for row in rows[400:]}
    assert suspicious_phrases(rows[:400]) == ()
    assert suspicious_phrases([]) == ()


def test_a_student_that_obeys_is_told_from_one_that_reads(task: TaskSection) -> None:
    """By how many texts of other classes it answers otherwise once the phrase is in."""
    rows = poisoned(task)
    suspects = suspicious_phrases(rows)
    (gullible,) = obeyed(lambda texts: [_said(text, TRIGGER in text) for text in texts], suspects, rows, 2)
    (reading,) = obeyed(lambda texts: [_said(text, False) for text in texts], suspects, rows, 2)
    assert (gullible.share, gullible.texts) == (1.0, 100)
    assert (reading.share, reading.texts) == (0.0, 100)
    assert triggered_rows([gullible, reading]) == {row.digest for row in rows[400:]}
    assert triggered_rows([reading]) == frozenset()


def _said(text: str, is_told: bool) -> Observation:
    is_first = sum(word in TELLING[0] for word in text.split()) > 0
    return Observation((0.1, 0.9) if is_told or not is_first else (0.9, 0.1))


def test_nothing_to_ask_is_nothing_obeyed(task: TaskSection) -> None:
    """A student that fails on every text."""

    def fails(texts: Sequence[str]) -> list[Observation]:
        return [Observation(None) for _ in texts]

    (found,) = obeyed(fails, suspicious_phrases(poisoned(task)), poisoned(task), 2)
    assert (found.texts, found.share) == (0, 0.0)
