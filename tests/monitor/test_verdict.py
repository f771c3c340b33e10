"""Verdicts by table: pass needs proof, fail needs evidence, everything else is inconclusive."""

import math

import pytest

from monitor.verdict import Bar, Known, judge, judge_slice, slice_verdict


@pytest.mark.parametrize(
    ("pairs", "agreements", "bar", "outcome"),
    [
        (200, 180, 0.8, "pass"),
        (200, 165, 0.8, "fail"),
        (200, 120, 0.8, "fail"),
        (60, 60, 0.8, "pass"),
        (60, 50, 0.8, "inconclusive"),
        (60, 20, 0.8, "fail"),
        (100, 100, 0.99, "inconclusive"),
        (0, 0, 0.8, "inconclusive"),
        (200, 180, None, "inconclusive"),
        (200, 180, math.nan, "inconclusive"),
        (200, 201, 0.8, "inconclusive"),
        (-1, 0, 0.8, "inconclusive"),
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
def test_one_slice(pairs: int, agreements: int, bar: float | None, outcome: str) -> None:
    """A fixed set of pairs that misses its bar fails, unless they were too few to reach it."""
    assert judge_slice(pairs, agreements, bar, 0.05, 100).outcome == outcome


def test_a_nan_alpha_proves_nothing() -> None:
    """And it is said."""
    verdict = judge_slice(200, 200, 0.8, math.nan, 100)
    assert verdict.outcome == "inconclusive"
    assert "alpha = nan" in verdict.reasons[0]


def test_what_is_not_provable_says_how_many_pairs_it_takes() -> None:
    """The least that is asked for, or what full agreement would need."""
    assert "needs 80" in judge_slice(60, 60, 0.8, 0.05, 100, least_to_pass=80).reasons[0]
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
    ("low", "high", "outcome"),
    [
        (0.81, 0.9, "pass"),
        (0.8, 0.9, "pass"),
        (0.79, 0.9, "inconclusive"),
        (0.7, 0.8, "inconclusive"),
        (0.7, 0.79, "fail"),
        (None, 0.9, "inconclusive"),
        (None, 0.7, "fail"),
        (None, None, "inconclusive"),
        (math.nan, math.nan, "inconclusive"),
    ],
)
def test_bounds_against_a_bar(low: float | None, high: float | None, outcome: str) -> None:
    """The bound that speaks against it decides, on either side; one that is not known proves nothing."""
    least = Known("x", 100, None, low, high)
    assert judge(least, Bar(0.8), 100).outcome == outcome
    most = Known("x", 100, None, None if high is None else 1 - high, None if low is None else 1 - low)
    assert judge(most, Bar(1 - 0.8, is_least=False), 100).outcome == outcome


def test_a_pass_needs_its_counts_and_a_fail_does_not() -> None:
    """What is proven by a handful may be a handful of one kind; what is refuted stays refuted."""
    few = Known("9 of 9", 9, 1.0, 0.9, 1.0)
    assert judge(few, Bar(0.8), 100).outcome == "inconclusive"
    assert "needs 100" in judge(few, Bar(0.8), 100).reasons[0]
    assert judge(few, Bar(0.8), 9).outcome == "pass"
    assert judge(few, Bar(0.8, is_least=False), 100).outcome == "fail"


def test_a_reason_names_value_bounds_bar_and_counts() -> None:
    """In the unit of the number."""
    slow = Known("99 % of 400 answers came within", 400, 0.0312, 0.0291, 0.0389, " s")
    reason = judge(slow, Bar(0.02, is_least=False), 1).reasons[0]
    assert reason == (
        "99 % of 400 answers came within, 0.0312 s (0.0291 s to 0.0389 s) exceeds the bar 0.02 s"
    )
