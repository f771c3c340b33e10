"""What of live traffic the training rows cover."""

from dataclasses import replace

from distill.curation.coverage import audit
from distill.curation.curating import curated
from distill.curation.embedded import lexical
from distill.curation.live_match import cells_in, cells_of
from ledger.configuration import TaskSection
from tests.distill.curation.words import build_text_row


def test_a_slice_without_training_rows_is_out_of_scope(task: TaskSection) -> None:
    """It is named with its share of traffic, and the manifest can tell it by its name."""
    known = [build_text_row(task, number, number % 2) for number in range(400)]
    new = [build_text_row(task, 400 + number, number % 2, area="mars") for number in range(100)]
    space = lexical([*known, *new])
    found = curated(known, [*known, *new], task, space)
    report = audit([*known, *new], found.cells, found.rows)
    assert report.out_of_scope == ("area=mars",)
    assert report.scope()["out_of_scope_slices"] == ["area=mars"]
    assert report.covered_share <= 0.8
    assert "area=mars (20.0% of traffic, 0 rows)" in report.sentence


def test_traffic_that_trains_is_covered(task: TaskSection) -> None:
    """All of it, where the training rows are a draw from it."""
    rows = [build_text_row(task, number, number % 2) for number in range(400)]
    found = curated(rows, rows, task, lexical(rows))
    report = audit(rows, found.cells, found.rows)
    assert (report.out_of_scope, report.covered_share) == ((), 1.0)
    assert report.sentence.startswith("training covers every slice")


def test_weights_cannot_make_up_for_rows(task: TaskSection) -> None:
    """Half of live traffic in a slice with nine training rows is not covered."""
    rows = [build_text_row(task, number, number % 2) for number in range(200)]
    rows += [build_text_row(task, 200 + number, area="rare", live=22.0) for number in range(9)]
    found = curated(rows, rows, task, lexical(rows))
    report = audit(rows, found.cells, found.rows)
    assert report.out_of_scope == ("area=rare",)


def test_without_live_traffic_the_pool_stands_for_it(task: TaskSection) -> None:
    """An audit of a record that ended long ago says what it can."""
    rows = [replace(build_text_row(task, number), live=0.0) for number in range(50)]
    report = audit(rows, cells_of(rows, ["area"], lexical(rows)), rows)
    assert [(region.name, region.live_share) for region in report.slices] == [("area=x", 1.0)]


def test_no_rows_are_no_regions(task: TaskSection) -> None:
    """An empty set is audited without a crash."""
    report = audit([], cells_of([], ["area"], lexical([])), [])
    assert (report.slices, report.out_of_scope) == ((), ())


def test_regions_of_a_students_own_embedding_are_audited_too(task: TaskSection) -> None:
    """By the spots that its file tells: here the training rows never came to region 3."""
    rows = [build_text_row(task, number) for number in range(100)]
    regions = [3 if number < 20 else 5 for number in range(100)]
    report = audit(rows, cells_in(rows, [], regions), rows[20:])
    assert [(one.name, one.is_covered) for one in report.clusters] == [("all/5", True), ("all/3", False)]
    assert report.covered_share == 0.8
