"""The evidence that a certified threshold still holds."""

import numpy as np
import pytest

from monitor.renewal import Renewal, counted, plain, read_renewal


def test_agreement_is_evidence_at_the_rate_of_its_best_bet() -> None:
    """Without a disagreement the bet on none earns 1 / (1 - r) a pair; one disagreement ruins that bet alone."""
    after = counted(Renewal(), 0.05, 100, 0)
    assert after.log_wealth_by_bet[0] == pytest.approx(-100 * np.log(0.95))
    ruined = counted(after, 0.05, 1, 1)
    assert ruined.log_wealth_by_bet[0] == -np.inf
    assert ruined.log_wealth > 0
    assert (ruined.inputs, ruined.disagreements) == (101, 1)


def test_where_pairs_are_split_makes_no_difference() -> None:
    """Two halves are as much evidence as the whole."""
    whole = counted(Renewal(), 0.1, 300, 12)
    halves = counted(counted(Renewal(), 0.1, 100, 9), 0.1, 200, 3)
    assert halves.log_wealth == pytest.approx(whole.log_wealth)


def test_it_is_kept_as_json_and_read_back() -> None:
    """A ruined bet included, which JSON has no number for."""
    renewal = counted(Renewal(), 0.1, 50, 3)
    assert read_renewal(plain(renewal)) == renewal


def test_a_threshold_at_its_bound_is_rarely_renewed() -> None:
    """With exactly the certified disagreement, at most delta of 400 streams are ever renewed, at any of 40 looks."""
    generator = np.random.default_rng(3)
    renewed = 0
    for _ in range(400):
        renewal = Renewal()
        for disagreements in generator.binomial(50, 0.05, size=40):
            renewal = counted(renewal, 0.05, 50, int(disagreements))
            if renewal.log_wealth >= np.log(1 / 0.1):
                renewed += 1
                break
    assert renewed <= 40 + 3 * 6


def test_a_good_threshold_is_renewed_soon() -> None:
    """Three in a hundred where five are certified: 943 pairs are expected for the best bet at a level of 100."""
    renewal, index = Renewal(), 0
    while renewal.log_wealth < np.log(100) and index < 50:
        renewal, index = counted(renewal, 0.05, 100, 3), index + 1
    assert 7 <= index <= 15
