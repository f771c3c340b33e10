"""Verdicts by table: pass needs proof, fail needs evidence, everything else is inconclusive."""

import math

import pytest

from ledger.configuration import GateSection
from ledger.slices import SliceRule
from monitor.sums import SliceSums
from monitor.verdict import judge_growing_slice, judge_live, judge_slice, slice_verdict

GATE = GateSection(bar=0.8, alpha=0.05, rows=100, slice_rows=50)
RULES = (
    SliceRule("area", "header", "x-area", critical=True, bar=0.8),
    SliceRule("length", "words", word_edges=(50,)),
)


def counts(pairs: int, agreements: int) -> SliceSums:
    return SliceSums(pairs=pairs, agreements=agreements)


@pytest.mark.parametrize(
    ("pairs", "agreements", "bar", "fixed", "growing"),
    [
        (200, 180, 0.8, "pass", "pass"),
        (200, 165, 0.8, "fail", "inconclusive"),
        (200, 120, 0.8, "fail", "fail"),
        (60, 60, 0.8, "pass", "inconclusive"),
        (60, 50, 0.8, "inconclusive", "inconclusive"),
        (60, 20, 0.8, "fail", "fail"),
        (100, 100, 0.99, "inconclusive", "inconclusive"),
        (0, 0, 0.8, "inconclusive", "inconclusive"),
        (200, 180, None, "inconclusive", "inconclusive"),
        (200, 180, math.nan, "inconclusive", "inconclusive"),
        (200, 201, 0.8, "inconclusive", "inconclusive"),
        (-1, 0, 0.8, "inconclusive", "inconclusive"),
    ],
    ids=[
        "proven",
        "missed, with all pairs there",
        "refuted",
        "few, and proven all the same",
        "too few",
        "too few and yet refuted",
        "bar beyond reach of so many pairs",
        "no pairs",
        "no bar",
        "bar is nan",
        "more agreements than pairs",
        "negative",
    ],
)
def test_one_slice(pairs: int, agreements: int, bar: float | None, fixed: str, growing: str) -> None:
    """A fixed set of pairs that misses its bar fails; a growing one waits until it is refuted."""
    assert judge_slice(pairs, agreements, bar, 0.05, 100).outcome == fixed
    assert judge_growing_slice(pairs, agreements, bar, 0.05, 100).outcome == growing


def test_a_nan_alpha_proves_nothing() -> None:
    """And it is said."""
    verdict = judge_slice(200, 200, 0.8, math.nan, 100)
    assert verdict.outcome == "inconclusive"
    assert "alpha = nan" in verdict.reasons[0]


def test_what_is_not_provable_says_how_many_pairs_it_takes() -> None:
    """The least that is asked for, or what full agreement would need."""
    assert "needs 100 pairs" in judge_growing_slice(60, 60, 0.8, 0.05, 100).reasons[0]
    assert "needs 80 pairs" in judge_slice(60, 60, 0.8, 0.05, 100, least_to_pass=80).reasons[0]
    assert "with few pairs" in judge_slice(60, 50, 0.8, 0.05, 100).reasons[0]
    assert "needs 299 pairs" in judge_slice(100, 100, 0.99, 0.05, 100).reasons[0]
    assert judge_slice(298, 298, 0.99, 0.05, 100).outcome == "inconclusive"
    assert judge_slice(299, 299, 0.99, 0.05, 100).outcome == "pass"


def test_a_line_of_the_gate_report() -> None:
    """It carries the counts, the exact bound and the reason."""
    line = slice_verdict("area=a", 200, 180, 0.8, 0.05, 100, critical=True)

    assert (line.slice, line.outcome, line.critical, line.bar) == ("area=a", "pass", True, 0.8)
    assert line.lower_bound == pytest.approx(0.858, abs=1e-3)
    assert "180 of 200" in line.reason


@pytest.mark.parametrize(
    ("sums", "outcome"),
    [
        ({}, "inconclusive"),
        ({"all": counts(99, 99)}, "inconclusive"),
        ({"all": counts(200, 180)}, "pass"),
        ({"all": counts(200, 100)}, "fail"),
        ({"all": counts(200, 180), "area=a": counts(60, 30)}, "fail"),
        ({"all": counts(200, 180), "area=a": counts(60, 50)}, "pass"),
        ({"all": counts(200, 180), "area=a": counts(5, 4)}, "pass"),
        ({"all": counts(200, 180), "length=50+": counts(60, 0)}, "pass"),
        ({"area=a": counts(200, 180)}, "inconclusive"),
    ],
    ids=[
        "nothing",
        "too little",
        "overall proven",
        "overall refuted",
        "critical slice refuted",
        "critical slice open",
        "critical slice too small",
        "other slice is only shown",
        "no overall counts",
    ],
)
def test_live_pairs(sums: dict[str, SliceSums], outcome: str) -> None:
    """The overall slice must be proven and no critical slice refuted."""
    assert judge_live(sums, RULES, GATE).outcome == outcome


def test_a_live_failure_names_the_slice() -> None:
    """The reason of the slice that stands in the way, not of the others."""
    verdict = judge_live({"all": counts(200, 180), "area=a": counts(60, 30)}, RULES, GATE)

    assert [reason.partition(":")[0] for reason in verdict.reasons] == ["area=a"]
    assert [line.slice for line in verdict.slices] == ["all", "area=a"]
