"""Bounds of a quantile: what the counts on both sides of an edge prove, and no more."""

import itertools
import math

import numpy as np
import pytest

from monitor.histograms import LATENCY_EDGES, place
from monitor.intervals import confidence_sequence
from monitor.quantiles import bounded_quantile

EDGES = (0, 10, 20, 30, 40)


def histogram(values: list[int]) -> tuple[tuple[int, int], ...]:
    places = sorted(place(value, LATENCY_EDGES) for value in values)
    return tuple((index, len(list(found))) for index, found in itertools.groupby(places))


@pytest.mark.parametrize("share", [0.5, 0.95, 0.99])
def test_the_bounds_are_the_edges_that_the_confidence_sequence_excludes(share: float) -> None:
    """The last edge that has provably less below it, and the first that has provably more."""
    counts = ((0, 100), (1, 200), (2, 400), (3, 250), (4, 50))
    found = bounded_quantile(counts, EDGES, share)

    below = {10: 100, 20: 300, 30: 700, 40: 950}
    bounds = {edge: confidence_sequence(count, 1000, 0.05) for edge, count in below.items()}
    lows = [edge for edge, (_, high) in bounds.items() if high < share]
    highs = [edge for edge, (low, _) in bounds.items() if low > share]
    assert found.low == max(lows, default=0)
    assert found.high == min(highs, default=None)
    assert found.count == 1000


def test_few_answers_have_no_upper_bound_of_their_slowest_hundredth() -> None:
    """Twenty answers say nothing about one in a hundred; None is no number that could pass for a bound."""
    found = bounded_quantile(histogram([1000] * 20), LATENCY_EDGES, 0.99)

    assert found.high is None
    assert found.low is not None


def test_no_answers_have_no_quantile() -> None:
    """None, three times."""
    found = bounded_quantile((), LATENCY_EDGES, 0.5)
    assert (found.count, found.value, found.low, found.high) == (0, None, None, None)


def test_the_bounds_hold_at_every_look() -> None:
    """Looked at after every fiftieth of 2,000 answers, 200 streams leave the true quantile out at most 5 % of times."""
    chance = np.random.default_rng(5)
    truth = math.exp(8.0)  # the median of what is drawn
    missed = 0
    for _ in range(200):
        places = [place(int(value), LATENCY_EDGES) for value in np.exp(chance.normal(8.0, 0.5, 2000))]
        missed += any(not _holds(places[:looked], truth) for looked in range(50, 2001, 50))
    assert missed <= 20  # 10 are expected at most; 20 are more than three deviations above


def _holds(places: list[int], truth: float) -> bool:
    counts = tuple((int(index), int(count)) for index, count in enumerate(np.bincount(places)) if count)
    found = bounded_quantile(counts, LATENCY_EDGES, 0.5)
    return (found.low or 0) <= truth and (found.high is None or truth <= found.high)


def test_another_unit() -> None:
    """Value and bounds are scaled, the count is not."""
    found = bounded_quantile(((1, 500), (2, 500)), EDGES, 0.5).scaled(0.001)
    assert found.count == 1000
    assert found.low == pytest.approx(0.01)
    assert found.high == pytest.approx(0.03)
