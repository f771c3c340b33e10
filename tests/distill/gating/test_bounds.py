"""Bounds of the gate against published values and against simulation."""

import math

import numpy as np
import pytest

from distill.gating.bounds import (
    adaptive_error,
    adaptive_error_interval,
    newcombe,
    quantile_upper,
    rows_to_prove,
    wilson,
)


def test_newcombe_gives_the_published_interval() -> None:
    """Newcombe (1998), table II: 56 of 70 against 48 of 80 by method 10 is .0524 to .3339."""
    low, high = newcombe(48, 80, 56, 70, 0.05)

    assert (round(low, 4), round(high, 4)) == (0.0524, 0.3339)


def test_wilson_gives_the_published_interval() -> None:
    """Newcombe (1998), single proportions: 81 of 263 is .2553 to .3662; nothing is known of no trials."""
    assert [round(bound, 4) for bound in wilson(81, 263, 0.05)] == [0.2553, 0.3662]
    assert wilson(0, 0, 0.05) == (0.0, 1.0)


def test_the_bound_of_a_quantile_is_an_order_statistic() -> None:
    """The largest of 59 bounds the 95th percentile at 5 %; 58 bound nothing."""
    assert quantile_upper(list(range(59)), 0.95, 0.05) == 58
    assert quantile_upper(list(range(58)), 0.95, 0.05) == math.inf


def test_a_calibrated_student_has_no_error_beyond_noise() -> None:
    """In nineteen of twenty worlds the upper bound lies above the true error, and it comes down with rows."""
    draw = np.random.default_rng(3)
    under, highs = 0, []
    for _ in range(60):
        confidence = draw.uniform(0.5, 1, 400)
        right = draw.random(400) < confidence - 0.04
        _, low, high = adaptive_error_interval(confidence, right, 0.05)
        under += high < 0.04
        highs.append(high)
        assert low <= high

    assert under <= 8  # binomial with 5 %: more in one run of a hundred
    assert np.mean(highs) < 0.1


def test_the_adaptive_error_of_known_answers() -> None:
    """All right at .9 is an error of .1, and none has no error to tell."""
    assert adaptive_error(np.full(40, 0.9), np.ones(40, dtype=np.bool_)) == pytest.approx(0.1)
    assert math.isnan(adaptive_error(np.array([]), np.array([], dtype=np.bool_)))


@pytest.mark.parametrize(("bar", "share"), [(0.8, 0.85), (0.9, 0.95), (0.95, 0.98)])
def test_rows_to_prove_a_bar_do_prove_it(bar: float, share: float) -> None:
    """Eight times of ten, as a simulation with the gate's own bound shows."""
    from monitor.intervals import lower_bound

    rows = rows_to_prove(bar, share, 0.05)
    assert rows is not None
    agreements = np.random.default_rng(5).binomial(rows, share, 400)

    assert 0.75 < np.mean([lower_bound(int(k), rows, 0.05) >= bar for k in agreements]) < 0.9


def test_no_rows_prove_what_is_not_so() -> None:
    """At or below the bar there is no number of rows."""
    assert rows_to_prove(0.9, 0.9, 0.05) is None
    assert rows_to_prove(0.9, 0.9001, 0.05) is None
