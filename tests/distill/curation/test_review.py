"""The queue of doubtful rows, and what people say of them."""

from pathlib import Path

import pytest

from distill.curation.review import (
    Decision,
    Doubt,
    ReviewRefused,
    answer_queue,
    answers_of_task,
    doubtful,
    read_queue,
    write_queue,
)
from ledger.configuration import TaskSection
from ledger.job_folders import forget_rows
from tests.distill.curation.words import build_text_row


@pytest.fixture
def folder(tmp_path: Path, task: TaskSection) -> Path:
    """A job's folder with two doubtful rows."""
    folder = tmp_path / "jobs" / "1"
    folder.mkdir(parents=True)
    rows = [build_text_row(task, number) for number in range(2)]
    entries = [doubtful(row, Doubt.CONFIDENT_LEARNING, task.classes, 1, True) for row in rows]
    write_queue(folder, "desk", entries)
    return folder


def test_the_queue_has_no_texts(folder: Path, task: TaskSection) -> None:
    """Digests, exchanges and classes alone."""
    ((first, answer), _) = read_queue(folder)
    assert (first.exchange_id, first.teacher_class, first.suggested_class, answer) == ("g0-0", "a", "b", None)
    text = build_text_row(task, 0).text
    assert all(word not in (folder / "review.json").read_text() for word in text.split())


def test_an_answer_holds_for_later_jobs(folder: Path, task: TaskSection) -> None:
    """The last word about a row, of whichever job, and of this task alone; a queue written anew keeps it."""
    digests = [entry.digest for entry, _ in read_queue(folder)]
    answer_queue(folder, digests[0], Decision.KEEP, "ann", task.classes)
    answer_queue(folder, digests[0], Decision.RELABEL, "bob", task.classes, "b")
    write_queue(folder, "desk", [entry for entry, _ in read_queue(folder)])
    found = answers_of_task(folder.parent, "desk")
    assert {digest: (said.decision, said.person, said.label) for digest, said in found.items()} == {
        digests[0]: (Decision.RELABEL, "bob", "b")
    }
    assert answers_of_task(folder.parent, "other") == {}


@pytest.mark.parametrize(
    ("digest", "decision", "person", "label", "reason"),
    [
        ("unknown", Decision.KEEP, "ann", None, "no row unknown waits"),
        (None, Decision.RELABEL, "ann", None, "relabel needs a class"),
        (None, Decision.KEEP, "ann", "b", "nothing else takes one"),
        (None, Decision.RELABEL, "ann", "c", "'c' is no class of the task; those are a, b"),
        (None, Decision.DROP, " ", None, "the name of the person"),
    ],
)
def test_an_answer_that_means_nothing_is_refused(
    folder: Path,
    task: TaskSection,
    digest: str | None,
    decision: Decision,
    person: str,
    label: str | None,
    reason: str,
) -> None:
    """With what is wrong, and nothing is written."""
    before = (folder / "review.json").read_bytes()
    known = read_queue(folder)[0][0].digest
    with pytest.raises(ReviewRefused, match=reason):
        answer_queue(folder, digest or known, decision, person, task.classes, label)
    assert (folder / "review.json").read_bytes() == before


def test_an_erasure_takes_rows_out(folder: Path) -> None:
    """Of the queue as of the other lists."""
    digests = [entry.digest for entry, _ in read_queue(folder)]
    forget_rows(folder, digests[:1])
    assert [entry.digest for entry, _ in read_queue(folder)] == digests[1:]
