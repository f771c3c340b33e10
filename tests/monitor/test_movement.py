"""How far counts moved: exact at any size, with bounds that hold for whatever moved most."""

import math

import numpy as np
import pytest

from monitor.histograms import WORD_EDGES
from monitor.intervals import difference_bounds, more_often_p_value
from monitor.movement import change_between, step_between


def test_the_greatest_change_is_named() -> None:
    """The edge below which, or the class in which, the share changed most."""
    step = step_between((10, 20, 30, 40), (40, 30, 20, 10), 0.05)
    change = change_between((50, 30, 20), (20, 40, 40), 0.05)

    assert step is not None
    assert change is not None
    assert (step.place, step.share_then, step.share_now) == (1, pytest.approx(0.3), pytest.approx(0.7))
    assert (change.place, change.change) == (0, pytest.approx(-0.3))
    assert change.least < 0.3 < change.most
    assert step.least < 0.4 < step.most
    assert step.p_value == change.p_value == 1 / 2000  # of 1999 deals none moved as much


def test_a_side_without_inputs_says_nothing() -> None:
    """Neither does a feature that has one value alone."""
    assert step_between((0, 0), (3, 4), 0.05) is None
    assert change_between((3, 4), (0, 0), 0.05) is None
    same = change_between((30, 0), (40, 0), 0.05)
    assert same is not None
    assert (same.change, same.least, same.p_value) == (0, 0, 1)


def test_few_inputs_cannot_move() -> None:
    """Five that all went to another class may be chance; the p-value is that of dealing them out."""
    few = change_between((5, 0), (0, 5), 0.05)

    assert few is not None
    assert few.p_value == pytest.approx(2 / math.comb(10, 5), abs=0.006)
    assert few.least == 0


@pytest.mark.parametrize("ordered", [True, False])
def test_nothing_moves_by_chance_more_often_than_said(ordered: bool) -> None:
    """Two draws of one mix of 12 classes, 40 against 300: p below 0.05 in about 5 % of 400 repetitions."""
    draws = np.random.default_rng(7)
    mix = draws.dirichlet(np.ones(12))
    measure = step_between if ordered else change_between
    found = []
    for _ in range(400):
        then, now = draws.multinomial(300, mix).tolist(), draws.multinomial(40, mix).tolist()
        movement = measure(then, now, 0.05)
        assert movement is not None
        found.append(movement)

    assert 0.02 < sum(movement.p_value <= 0.05 for movement in found) / 400 < 0.085
    assert sum(movement.least > 0 for movement in found) / 400 <= 0.05


def test_bounds_hold_for_the_class_that_changed_most() -> None:
    """Picked after looking: wrong in at most 5 % of 300 repetitions."""
    draws = np.random.default_rng(3)
    then_mix, now_mix = np.array([0.5, 0.2, 0.2, 0.1]), np.array([0.3, 0.3, 0.2, 0.2])
    missed = 0
    for _ in range(300):
        then, now = draws.multinomial(200, then_mix).tolist(), draws.multinomial(60, now_mix).tolist()
        movement = change_between(then, now, 0.05)
        assert movement is not None
        true = (now_mix - then_mix)[movement.place] * math.copysign(1, movement.change)
        missed += not movement.least <= max(0.0, true) <= movement.most

    assert missed <= 15


def test_the_order_of_bins_matters_to_steps_alone() -> None:
    """Moving to the neighbour is a smaller step than it is a change of classes; lengths have as many bins as edges."""
    bins = len(WORD_EDGES)
    then, now = [0] * bins, [0] * bins
    then[3] = then[7] = now[4] = now[7] = 50
    step, change = step_between(then, now, 0.05), change_between(then, now, 0.05)

    assert step is not None
    assert change is not None
    assert (step.place, change.place) == (3, 3)
    assert step.change == change.change == -0.5


@pytest.mark.parametrize(
    ("counts", "p_value"),
    [  # scipy 1.17.1: fisher_exact([[now, of_now - now], [then, of_then - then]], "greater")
        ((1, 100, 9, 100), 0.009243839938738181),
        ((0, 50, 0, 50), 1.0),
        ((3, 10, 7, 10), 0.0894477039987876),
        ((10, 1000, 10, 50), 3.0890791196799966e-09),
    ],
)
def test_fishers_test_is_exact(counts: tuple[int, int, int, int], p_value: float) -> None:
    """One-sided: more often now."""
    assert more_often_p_value(*counts) == pytest.approx(p_value, rel=1e-9)


def test_bounds_on_a_rise_are_those_of_both_shares() -> None:
    """Exact ones, of which none is wrong together with probability 95 %; without trials they say nothing."""
    low, high = difference_bounds(10, 100, 30, 100, 0.05)
    assert low < 0.2 < high
    assert difference_bounds(0, 0, 0, 0, 0.05) == (-1, 1)
