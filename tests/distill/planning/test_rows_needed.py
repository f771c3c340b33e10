"""Sizes of gates: exact binomial arithmetic, held against another route: beta quantiles and a binomial tail."""

import pytest
from scipy.stats import beta, binom

from distill.planning.rows_needed import fidelity_needed, rows_needed

ALPHA = 0.05


def passes(agreements: int, rows: int, bar: float) -> bool:
    """Clopper-Pearson by the beta quantile."""
    return agreements > 0 and beta.ppf(ALPHA, agreements, rows - agreements + 1) >= bar


def power(rows: int, bar: float, fidelity: float) -> float:
    least = next((k for k in range(rows + 1) if passes(k, rows, bar)), rows + 1)
    return float(binom.sf(least - 1, rows, fidelity))


@pytest.mark.parametrize(
    ("bar", "fidelity", "rows"),
    [
        (0.80, 0.85, 398),
        (0.90, 0.93, 593),
        (0.90, 0.95, 203),
        (0.95, 0.97, 694),
        (0.95, 0.98, 286),
        (0.97, 0.99, 392),
    ],
)
def test_rows_for_one_slice_at_a_power_of_eight_in_ten(bar: float, fidelity: float, rows: int) -> None:
    """Every gate from that size on has the power; the one that is a row smaller has not."""
    assert rows_needed(bar, fidelity, ALPHA) == rows
    assert power(rows - 1, bar, fidelity) < 0.8
    assert all(power(more, bar, fidelity) >= 0.8 for more in range(rows, rows + 40))


@pytest.mark.parametrize(("bar", "rows"), [(0.90, 29), (0.95, 59), (0.97, 99), (0.99, 299)])
def test_a_student_that_never_disagrees_needs_this_many(bar: float, rows: int) -> None:
    """Fewer rows prove the bar for nobody."""
    assert rows_needed(bar, 1.0, ALPHA) == rows
    assert fidelity_needed(rows, bar, ALPHA) is not None
    assert fidelity_needed(rows - 1, bar, ALPHA) is None


def test_no_gate_proves_a_bar_that_the_student_does_not_reach() -> None:
    """Not even an endless one."""
    assert rows_needed(0.9, 0.9, ALPHA) is None
    assert rows_needed(0.9, 0.5, ALPHA) is None


@pytest.mark.parametrize(("rows", "bar"), [(100, 0.8), (203, 0.9), (600, 0.95)])
def test_the_fidelity_that_a_gate_asks_for_is_where_its_power_is_reached(rows: int, bar: float) -> None:
    """A little less faithful passes less often than wanted, a little more faithful more often."""
    asked = fidelity_needed(rows, bar, ALPHA)
    assert asked is not None

    assert power(rows, bar, asked - 1e-3) < 0.8 <= power(rows, bar, asked + 1e-3)
