"""Exact bounds and tests against values computed with scipy 1.17.1, and by enumeration."""

import math

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from monitor.intervals import (
    at_least_p_value,
    at_most_p_value,
    bounded_share,
    confidence_sequence,
    excludes,
    holm,
    lower_bound,
    paired_loss_high,
    paired_loss_upper_bound,
    paired_loss_upper_bound_exact,
    paired_p_value,
    upper_bound,
)


@pytest.mark.parametrize(
    ("k", "n", "p", "tail"),
    [
        (3, 500, 0.02, 0.009812155535351051),
        (5, 500, 0.02, 0.0651918671024135),
        (10, 1000, 0.02, 0.010236548159763267),
    ],
)
def test_binomial_tails(k: int, n: int, p: float, tail: float) -> None:
    """Lower tails from whole counts; the upper tail is its complement."""
    assert at_most_p_value(k, n, p) == pytest.approx(tail, rel=1e-12)
    assert at_least_p_value(k + 1, n, p) == pytest.approx(1 - tail, rel=1e-12)


@pytest.mark.parametrize(
    ("k", "n", "bound"),
    [
        (3, 500, 0.015433734876752685),
        (5, 500, 0.020910322942267072),
        (10, 1000, 0.016903175120562504),
    ],
)
def test_clopper_pearson(k: int, n: int, bound: float) -> None:
    """One-sided at 5 %, and the lower bound mirrors the upper one."""
    assert upper_bound(k, n, 0.05) == pytest.approx(bound, rel=1e-12)
    assert lower_bound(n - k, n, 0.05) == pytest.approx(1 - bound, rel=1e-12)


def test_binomial_tails_at_the_ends() -> None:
    """Certain and impossible counts."""
    assert (at_most_p_value(-1, 10, 0.3), at_most_p_value(10, 10, 0.3)) == (0.0, 1.0)
    assert (at_least_p_value(0, 10, 0.3), at_least_p_value(11, 10, 0.3)) == (1.0, 0.0)
    assert at_most_p_value(0, 10, 0.3) == pytest.approx(0.7**10)
    assert at_least_p_value(10, 10, 0.3) == pytest.approx(0.3**10)


def test_bounds_at_the_ends() -> None:
    """No trials say nothing, and full agreement still has a lower bound below 1."""
    assert (lower_bound(0, 0, 0.05), upper_bound(0, 0, 0.05)) == (0.0, 1.0)
    assert (lower_bound(0, 10, 0.05), upper_bound(10, 10, 0.05)) == (0.0, 1.0)
    assert lower_bound(10, 10, 0.05) == pytest.approx(0.05**0.1)


@pytest.mark.parametrize(
    ("k", "n", "low", "high"),
    [
        (3, 50, 0.00431184, 0.22684167),
        (5, 100, 0.00714948, 0.15579444),
        (50, 1000, 0.02871992, 0.07923958),
        (0, 50, 0.0, 0.10464248),
    ],
)
def test_confidence_sequence(k: int, n: int, low: float, high: float) -> None:
    """The Beta(1/2, 1/2) mixture at 95 %."""
    assert confidence_sequence(k, n, 0.05) == pytest.approx((low, high), abs=1e-8)
    assert confidence_sequence(n - k, n, 0.05) == pytest.approx((1 - high, 1 - low), abs=1e-8)


def test_a_confidence_sequence_without_trials_is_everything() -> None:
    """It starts at [0, 1]."""
    assert confidence_sequence(0, 0, 0.05) == (0.0, 1.0)


def test_holm_steps_down() -> None:
    """The smallest is held against alpha / 3, the next against alpha / 2; after a miss all others stay."""
    assert holm([0.04, 0.01, 0.02], 0.05) == [True, True, True]
    assert holm([0.04, 0.01, 0.03], 0.05) == [False, True, False]
    assert holm([0.02, 0.02, 0.02], 0.05) == [False, False, False]
    assert holm([], 0.05) == []
    assert holm([math.nan], 0.05) == [False]


def test_the_sign_test_is_exact() -> None:
    """9 losses against 1 gain: 11 / 1024; nothing to compare is no evidence."""
    assert paired_p_value(9, 1) == pytest.approx(11 / 1024)
    assert paired_p_value(0, 0) == 1.0
    assert paired_p_value(0, 5) == 1.0


@pytest.mark.parametrize(("losses", "gains", "inputs"), [(12, 2, 50), (45, 35, 800), (3, 0, 200)])
def test_the_score_bound_inverts_the_score_test(losses: int, gains: int, inputs: int) -> None:
    """At the bound the score, with its nuisance parameter found numerically, equals the critical value."""
    bound = paired_loss_upper_bound(losses, gains, inputs, 0.05)

    def minus_likelihood(gain: float) -> float:
        loss, same = gain + bound, 1 - 2 * gain - bound
        return -(
            losses * math.log(loss)
            + (gains * math.log(gain) if gains else 0)
            + (inputs - losses - gains) * math.log(same)
        )

    span = (max(0.0, -bound) + 1e-12, (1 - bound) / 2 - 1e-12)
    gain = float(minimize_scalar(minus_likelihood, bounds=span, options={"xatol": 1e-12}, method="bounded").x)
    variance = (2 * gain + bound - bound**2) / inputs
    score = ((losses - gains) / inputs - bound) / math.sqrt(variance)
    assert score == pytest.approx(-1.6448536269514722, abs=1e-4)


def test_paired_bounds_cover_the_true_loss() -> None:
    """True loss 2 points: the exact bound misses it in at most 5 % of 400 draws, the score bound in 8 %."""
    draws = np.random.default_rng(5).multinomial(500, (0.06, 0.04, 0.9), size=400)
    missed = [paired_loss_upper_bound(int(b), int(c), 500, 0.05) < 0.02 for b, c, _ in draws]
    missed_exact = [paired_loss_upper_bound_exact(int(b), int(c), 500, 0.05) < 0.02 for b, c, _ in draws]

    assert 4 <= sum(missed) <= 32
    assert sum(missed_exact) <= 20


def test_paired_bounds_at_the_ends() -> None:
    """No inputs bound nothing; no differences still leave room; the exact bound is the wider one."""
    assert paired_loss_upper_bound(0, 0, 0, 0.05) == 1.0
    assert paired_loss_upper_bound_exact(0, 0, 0, 0.05) == 1.0
    assert 0 < paired_loss_upper_bound(0, 0, 100, 0.05) < paired_loss_upper_bound_exact(0, 0, 100, 0.05)
    assert paired_loss_upper_bound(0, 40, 100, 0.05) < 0
    assert paired_loss_upper_bound_exact(0, 40, 100, 0.05) < 0


def test_a_share_without_sense_has_no_bounds() -> None:
    """Nothing to divide by, or counts that took back more than they had: None, not a number."""
    assert bounded_share(0, 0).value is None
    assert bounded_share(-1, 5).low is None
    assert bounded_share(6, 5).high is None
    whole = bounded_share(5, 5)
    assert (whole.value, whole.high) == (1.0, 1.0)
    assert (whole.low, whole.high) == confidence_sequence(5, 5, 0.05)


@pytest.mark.parametrize(("k", "n"), [(0, 40), (3, 50), (25, 50), (50, 50)])
def test_what_lies_outside_the_sequence_is_excluded(k: int, n: int) -> None:
    """And nothing inside it is."""
    low, high = confidence_sequence(k, n, 0.05)
    for share in np.linspace(0.01, 0.99, 99):
        if abs(share - low) > 1e-9 and abs(share - high) > 1e-9:
            assert excludes(k, n, float(share), 0.05) == (not low <= share <= high)
    assert not excludes(0, 0, 0.5, 0.05)


def test_a_loss_bounded_at_every_look_is_wider_than_at_one() -> None:
    """Never below the exact bound for one look, and 1 where there is nothing."""
    for losses, gains, inputs in [(10, 5, 200), (0, 0, 100), (5, 30, 300), (40, 2, 100)]:
        once = paired_loss_upper_bound_exact(losses, gains, inputs, 0.05)
        assert paired_loss_high(losses, gains, inputs, 0.05) >= once
    assert paired_loss_high(0, 0, 0, 0.05) == 1.0


def test_a_loss_stays_below_its_bound_at_every_look() -> None:
    """300 streams of two students that differ in a quarter of inputs, looked at 20 times each."""
    chance, missed = np.random.default_rng(8), 0
    for _ in range(300):
        kind = chance.choice(3, 1000, p=[0.15, 0.10, 0.75])
        losses, gains = np.cumsum(kind == 0), np.cumsum(kind == 1)
        looks = range(49, 1000, 50)
        missed += any(paired_loss_high(int(losses[n]), int(gains[n]), n + 1, 0.05) < 0.05 for n in looks)
    assert missed <= 15
