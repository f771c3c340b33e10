"""The expected delay, beside delays of the detector itself."""

import math
from statistics import fmean

import numpy as np
import pytest

from monitor.delay import expected_ticks
from monitor.detector import Terms, bets_for, new_detector, terms_for, update

LEVEL = math.log(259_200)  # one false alarm in 30 days of ticks of 10 s


def ticks_until_an_alarm(terms: Terms, rate: float, inputs: int, mass: float, seed: int) -> int:
    generator, detector, ticks = np.random.default_rng(seed), new_detector(terms), 0
    while detector.log_wealth < LEVEL:
        disagreements = int(generator.binomial(inputs, rate))
        detector = update(detector, mass, (inputs - disagreements, disagreements), 0)
        ticks += 1
    return ticks


@pytest.mark.parametrize(("rate", "inputs"), [(0.10, 50), (0.15, 10), (0.15, 1), (0.30, 5), (0.60, 1)])
def test_it_is_close_to_what_the_detector_takes(rate: float, inputs: int) -> None:
    """Against a null of 6 %, a tenth of a tick's mass, mean of 40 runs: at most a third off."""
    terms, mass = terms_for(0.06), 0.1
    measured = fmean(ticks_until_an_alarm(terms, rate, inputs, mass, seed) for seed in range(40))

    expected = expected_ticks(terms, rate, inputs, mass, LEVEL)

    assert expected is not None
    assert measured / 1.35 <= expected <= measured * 1.35


def test_a_shift_within_the_null_is_never_noticed() -> None:
    """That is what the tolerance is for."""
    assert expected_ticks(terms_for(0.1), 0.1, 100, 1.0, LEVEL) is None
    assert expected_ticks(terms_for(0.1), 0.02, 100, 1.0, LEVEL) is None


def test_a_shift_too_small_for_every_bet_is_never_noticed() -> None:
    """The least bet aims at a fifth above the null, and loses below about half of that."""
    assert expected_ticks(terms_for(0.1), 0.1001, 100, 1.0, LEVEL) is None


def test_larger_shifts_more_traffic_and_more_mass_are_faster() -> None:
    """And no shift is noticed before the tick that shows it ends."""

    def ticks(rate: float = 0.2, inputs: float = 10, mass: float = 0.5) -> float:
        expected = expected_ticks(terms_for(0.1), rate, inputs, mass, LEVEL)
        assert expected is not None
        return expected

    assert ticks(rate=0.4) < ticks(rate=0.3) < ticks()
    assert ticks(inputs=40) < ticks(inputs=20) < ticks()
    assert ticks(mass=1.0) < ticks()
    assert ticks(rate=1.0, inputs=10_000) == 1.0


def test_binned_losses_are_refused() -> None:
    """A share of disagreements is no distribution over bins."""
    with pytest.raises(ValueError, match="between 0 and 1"):
        expected_ticks(Terms(0.1, bets_for(0.1), (0.0, 0.5)), 0.2, 10, 1.0, LEVEL)
