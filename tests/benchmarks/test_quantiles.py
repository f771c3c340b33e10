"""The statistics of the tables."""

import math

import pytest

from benchmarks.quantiles import percentile, slope, upper_bound


@pytest.mark.parametrize(("share", "expected"), [(0.5, 50), (0.99, 99), (1.0, 100), (0.001, 1)])
def test_a_percentile_is_one_of_the_values(share: float, expected: float) -> None:
    """The smallest that at least the share of the values do not exceed, in any order of the values."""
    assert percentile(list(range(100, 0, -1)), share) == expected


def test_the_percentile_of_nothing_is_infinite() -> None:
    """A leg without an answer misses every limit."""
    assert percentile([], 0.99) == math.inf


def test_the_bound_lies_above_the_estimate_and_holds_often_enough() -> None:
    """It grows with the spread of the blocks, and is the value itself when they are all alike."""

    def mean(blocks: object) -> float:
        assert isinstance(blocks, list)
        return sum(blocks) / len(blocks)

    assert upper_bound([3.0] * 6, mean) == 3.0
    narrow, wide = upper_bound([0.9, 1.0, 1.1] * 4, mean), upper_bound([0.5, 1.0, 1.5] * 4, mean)
    assert 1.0 < narrow < 1.1
    assert narrow < wide < 1.5


def test_the_same_blocks_have_the_same_bound() -> None:
    """A table can be computed again."""
    assert upper_bound([1.0, 2.0, 5.0], sum) == upper_bound([1.0, 2.0, 5.0], sum)


def test_a_slope_is_per_unit_of_x() -> None:
    """Half a unit for one, noise around it or not."""
    assert slope([(0, 1.0), (2, 2.0), (4, 3.0)]) == pytest.approx(0.5)
    assert slope([(0, 1.1), (0, 0.9), (10, 6.1), (10, 5.9)]) == pytest.approx(0.5)
    assert slope([(1, 5.0)]) == 0.0
