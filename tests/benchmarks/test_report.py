"""Floors, tables and the page that they are written into."""

from pathlib import Path

import pytest

from benchmarks.document import NoPlace, write
from benchmarks.machine import Circumstances
from benchmarks.report import Floor, Report, Table, floor_table, markdown, text

WHERE = Circumstances("a machine", "a day", "a commit")
PAGE = Path(__file__).parents[2] / "docs" / "performance.md"


def test_a_floor_holds_at_its_limit_and_breaks_beyond() -> None:
    """In both directions; without a measurement it does not hold."""
    assert Floor("x", 2.5, 2.5).holds
    assert Floor("x", 2.51, 2.5).breaks
    assert Floor("x", 60, 60, at_least=True).holds
    assert Floor("x", 59.9, 60, at_least=True).breaks
    assert Floor("x", None, 60).breaks
    assert Floor("x", float("nan"), 60).breaks


def test_a_stretch_may_be_missed() -> None:
    """It is marked, and does not break the run."""
    missed = Floor("x", 3, 1.5, stretch=True)
    assert not missed.holds
    assert not missed.breaks
    assert "missed (stretch)" in text(floor_table([missed]))


def test_a_missed_floor_is_marked_in_its_row() -> None:
    """Nobody has to compare numbers."""
    rows = text(floor_table([Floor("cost", 3, 2.5), Floor("errors", 0, 0)])).splitlines()
    assert rows[3].endswith("MISSED")
    assert rows[4].endswith("holds")


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    """The first column to the left, the others to the right."""
    table = Table("T", ("name", "n"), (("a", "1"), ("longer", "100")), "a note")
    assert text(table).splitlines() == [
        "T",
        "-----------",
        "name      n",
        "a         1",
        "longer  100",
        "a note",
    ]
    assert "| longer | 100 |" in markdown(table)


def test_a_run_replaces_what_its_parts_said_before_and_nothing_else(tmp_path: Path) -> None:
    """Writing twice is writing once; the other parts keep their tables."""
    page = tmp_path / "page.md"
    page.write_text(
        "before\n<!-- peers -->\nof yesterday\n<!-- /peers -->\nbetween\n<!-- memory -->\nkept\n<!-- /memory -->\n"
    )
    report = Report("peers", (Table("Peers", ("a",), (("b",),)),), (Floor("f", 1, 2),))
    write(page, WHERE, [report])
    once = page.read_text()
    write(page, WHERE, [report])
    assert page.read_text() == once
    assert "a machine; a day; commit a commit" in once
    assert "of yesterday" not in once
    assert "between\n<!-- memory -->\nkept" in once


def test_a_page_without_a_place_is_refused(tmp_path: Path) -> None:
    """The message names the comments to add."""
    page = tmp_path / "page.md"
    page.write_text("nothing")
    with pytest.raises(NoPlace, match="<!-- peers -->"):
        write(page, WHERE, [Report("peers", (), ())])


@pytest.mark.parametrize("part", ["peers", "latency", "failures", "memory", "students", "profile"])
def test_the_page_has_a_place_for_every_part(part: str, tmp_path: Path) -> None:
    """docs/performance.md takes what the command writes."""
    copy = tmp_path / "performance.md"
    copy.write_text(PAGE.read_text())
    write(copy, WHERE, [Report(part, (), (Floor("f", 1, 2),))])
    assert "a machine" in copy.read_text()
