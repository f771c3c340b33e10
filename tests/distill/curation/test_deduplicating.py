"""What is one row, and what one caller may give."""

from dataclasses import replace

from distill.curation.deduplicating import LEAST_OF_A_PRINCIPAL, distinct_rows, most_rows, quarantine_queue
from ledger.configuration import CurationSection, TaskSection
from ledger.observation import Observation
from tests.distill.curation.words import build_text_row, write_text

SETTINGS = CurationSection()
NEAR = f"{write_text(0, 0, 60)} once more"


def test_near_duplicates_are_one_row_that_counts_them(task: TaskSection) -> None:
    """Arrivals, live arrivals and callers are added; the text is the first one's."""
    first = build_text_row(task, 0, text=write_text(0, 0, 60), principals=("ann",), repeats=3, inclusion=0.5)
    second = build_text_row(task, 1, text=NEAR, principals=("bob",))
    distinct = distinct_rows([first, second, build_text_row(task, 2)], SETTINGS)
    assert (distinct.merged, len(distinct.rows)) == (1, 2)
    row = distinct.rows[0]
    assert (row.text, row.repeats, row.live, row.principals) == (first.text, 4, 2.0, ("ann", "bob"))
    assert row.inclusion == 4 / 7
    assert row.digests == (first.digest, second.digest)
    assert distinct.principals == 2


def test_what_the_teacher_tells_apart_stays_apart(task: TaskSection) -> None:
    """Near texts with different answers draw the boundary; they share a group, so that no split parts them."""
    first = build_text_row(task, 0, text=write_text(0, 0, 60))
    second = build_text_row(task, 1, label=1, text=NEAR)
    distinct = distinct_rows([first, second], SETTINGS)
    assert [row.group_id for row in distinct.rows] == [first.digest] * 2
    assert distinct.merged == 0


def test_all_the_same_is_one_row(task: TaskSection) -> None:
    """However many there are."""
    rows = [build_text_row(task, number, text=f"{NEAR} {number}") for number in range(500)]
    (row,) = distinct_rows(rows, SETTINGS).rows
    assert row.repeats == 500


def test_one_caller_gives_no_more_than_its_share(task: TaskSection) -> None:
    """What is beyond waits in quarantine; the others lose nothing, and a person may take rows out."""
    flood = [build_text_row(task, number, principals=("mallory",)) for number in range(250)]
    others = [build_text_row(task, 1000 + number, principals=(f"p{number % 300}",)) for number in range(1500)]
    distinct = distinct_rows([*flood, *others], SETTINGS)
    limit = most_rows(1750, 301, SETTINGS.principal_share)
    assert limit == 35
    assert sum(row.principals == ("mallory",) for row in distinct.rows) == limit
    assert {row.principals for row in distinct.quarantined} == {("mallory",)}
    assert len(distinct.quarantined) == len(quarantine_queue(distinct, task.classes)) == 250 - limit

    released = frozenset(row.digest for row in distinct.quarantined)
    assert not distinct_rows([*flood, *others], SETTINGS, released).quarantined


def test_those_who_do_not_say_who_they_are_count_as_one(task: TaskSection) -> None:
    """Where others do; leaving the header out is no way around the share."""
    flood = [build_text_row(task, number, principals=("",)) for number in range(300)]
    others = [build_text_row(task, 1000 + number, principals=(f"p{number}",)) for number in range(500)]
    distinct = distinct_rows([*flood, *others], SETTINGS)
    assert len(distinct.quarantined) == 300 - LEAST_OF_A_PRINCIPAL


def test_without_callers_nothing_is_told_apart(task: TaskSection) -> None:
    """A task that captures no subject keeps all of its rows."""
    rows = [build_text_row(task, number, principals=("",)) for number in range(300)]
    assert len(distinct_rows(rows, SETTINGS).rows) == 300


def test_few_callers_share_evenly(task: TaskSection) -> None:
    """With three of them two percent each would be next to nothing."""
    assert most_rows(3000, 3, SETTINGS.principal_share) == 2000
    rows = [build_text_row(task, number, principals=(f"p{number % 3}",)) for number in range(900)]
    assert not distinct_rows(rows, SETTINGS).quarantined


def test_a_verified_label_keeps_near_texts_apart(task: TaskSection) -> None:
    """One that is known to be wrong must not vanish in one that is not."""
    first = build_text_row(task, 0, text=write_text(0, 0, 60))
    known = replace(build_text_row(task, 1, text=NEAR), truth=1, teacher=Observation((0.9, 0.1)))
    assert len(distinct_rows([first, known], SETTINGS).rows) == 2
