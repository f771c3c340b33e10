"""Reports: kept sums as plain numbers."""

import orjson
import pytest
from sqlalchemy import Engine
from sqlmodel import Session

from ledger.slices import SliceRule
from monitor.intervals import confidence_sequence
from monitor.layout import layout_of
from monitor.reports import merged_sums, slice_reports, students_with_sums, sums_over_time
from monitor.sums import SliceSums, merged
from monitor.windows import add_to_rows, with_whole_life
from tests.monitor.world import A, B, build_pair

RULES = (SliceRule("area", "header", "x-area", critical=True, bar=0.85),)


def test_rows_come_in_order_with_their_bars() -> None:
    """The overall slice first, with the gate's bar; a slice that is no longer declared has none."""
    sums = dict.fromkeys(("area=b", "gone=x", "all", "area=a"), SliceSums.of_pair(build_pair()))

    rows = slice_reports(sums, RULES, overall_bar=0.8)

    assert [(row.slice, row.bar, row.critical) for row in rows] == [
        ("all", 0.8, True),
        ("area=a", 0.85, True),
        ("area=b", 0.85, True),
        ("gone=x", None, False),
    ]


def test_a_row_holds_plain_numbers() -> None:
    """Counts, ratios and an interval that holds at every look."""
    pairs = [build_pair(A, A)] * 3 + [build_pair(A, B)]
    sums = merged([*map(SliceSums.of_pair, pairs), SliceSums.of_label(pairs[0], 0)])

    (row,) = slice_reports({"all": sums}, RULES)

    assert (row.pairs, row.agreements, row.fidelity) == (4, 3, 0.75)
    assert (row.fidelity_low, row.fidelity_high) == confidence_sequence(3, 4, 0.05)
    assert (row.labelled, row.accuracy, row.teacher_accuracy) == (1, 1.0, 1.0)
    assert row.calibration_error == pytest.approx((3 * 0.1 + 0.8) / 4)


def test_what_cannot_be_divided_is_null_in_json() -> None:
    """An empty slice has counts of 0 and no ratios."""
    (row,) = slice_reports({"all": SliceSums.empty()}, RULES)

    document = orjson.loads(orjson.dumps(row.plain()))
    assert (document["pairs"], document["labelled"]) == (0, 0)
    assert {
        document[name] for name in ("fidelity", "fidelity_low", "accuracy", "calibration_error", "kl_nats")
    } == {None}


def test_an_unknown_student_has_no_sums(engine: Engine) -> None:
    """Nothing is invented for it."""
    with Session(engine) as session:
        assert merged_sums(session, "desk", "s-unknown") == {}
        assert merged_sums(session, "desk", "s-unknown", since_us=0, until_us=1) == {}


def test_windows_come_one_by_one_in_order_of_time(engine: Engine) -> None:
    """Those that start in the span, without the sums over the whole life; and who has any."""
    one = SliceSums.of_pair(build_pair())
    row = layout_of(3).row(one.to_json())
    with Session(engine) as session:
        starts = (60, 0, 120)
        add_to_rows(session, with_whole_life({("desk", "s-1", "all", start): row for start in starts}))
        add_to_rows(session, with_whole_life({("other", "s-2", "all", 0): row}))

        assert list(sums_over_time(session, "desk", "s-1", "all")) == [0, 60, 120]
        assert sums_over_time(session, "desk", "s-1", "all", 60, 120) == {60: one}
        assert students_with_sums(session, "desk") == ["s-1"]
