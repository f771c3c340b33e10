"""What stops a run before anything is spent."""

from dataclasses import replace

from distill.curation.deduplicating import distinct_rows
from distill.curation.rows import Ingested, Row, Unusable
from distill.curation.sufficiency import Sufficiency, sufficiency
from ledger.configuration import TaskSection
from ledger.observation import Observation
from tests.distill.curation.words import build_text_row


def judged(task: TaskSection, rows: list[Row], **unusable: int) -> Sufficiency:
    distinct = distinct_rows(rows, task.curation).rows
    return sufficiency(Ingested(tuple(rows), unusable), distinct, task)


def rows_of(task: TaskSection, count: int, label: int | None = None) -> list[Row]:
    return [build_text_row(task, number, number % 2 if label is None else label) for number in range(count)]


def test_enough_rows_of_every_class_are_enough(task: TaskSection) -> None:
    """Nothing to say."""
    rows = [replace(row, teacher=Observation((0.4321, 0.5679))) for row in rows_of(task, 1)]
    assert judged(task, [*rows_of(task, 300)[1:], *rows]) == Sufficiency((), ())


def test_too_few_rows_stop_the_run(task: TaskSection) -> None:
    """With what was left out, and the way out."""
    (stop,) = judged(task, rows_of(task, 20), incomplete=7).stops
    assert "only 20 distinct rows, and gate.train_rows is 200; left out: 7 incomplete." in stop


def test_a_single_class_stops_the_run(task: TaskSection) -> None:
    """There is nothing to tell apart."""
    (stop,) = judged(task, rows_of(task, 300, 1)).stops
    assert stop.startswith("the teacher answered 'b' to all of 300 rows")


def test_equal_texts_stop_the_run(task: TaskSection) -> None:
    """However often they came, and whatever was answered."""
    same = [replace(row, text="the same text") for row in rows_of(task, 300)]
    stops = judged(task, same).stops
    assert any(stop.startswith("only 2 distinct rows") for stop in stops)
    assert any(stop.startswith("all texts are nearly the same one") for stop in stops)


def test_thin_slices_and_classes_are_noted(task: TaskSection) -> None:
    """A critical rule that says nothing of any row, and one with too few rows."""
    rows = rows_of(task, 300, 0) + [build_text_row(task, 900 + number, 1, area="rare") for number in range(9)]
    notes = judged(task, rows).notes
    assert "classes with fewer than 50 rows: b 9" in notes
    assert "critical slices with fewer rows than gate.slice_rows: area=rare 9" in notes
    silent = [replace(row, slices=("all",)) for row in rows_of(task, 300)]
    assert (
        "the critical slice rule 'area' says nothing of any row: it has no slices"
        in judged(task, silent).notes
    )


def test_a_teacher_that_changed_is_noted(task: TaskSection) -> None:
    """Its other answers were left out; rounded ones are named."""
    notes = judged(task, rows_of(task, 300), **{Unusable.OTHER_TEACHER: 40}).notes
    assert any("40 inputs were answered by another version" in note for note in notes)
    assert "the teacher's probabilities are rounded to 3 decimals or fewer" in notes
