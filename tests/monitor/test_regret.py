"""Labels as losses: valid whatever they weigh, and the null that the first of them give."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.labels import LEAST_PROBABILITY
from monitor.baseline import REFERENCE_DELTA
from monitor.detector import DISAGREEMENT, terms_for
from monitor.histograms import COARSE
from monitor.intervals import upper_bound
from monitor.regret import (
    NOTHING_LEARNT,
    counts_for,
    learnt,
    limit_for,
    losses_for,
    null_of_labels,
)
from monitor.weights import weight_of

SURE = weight_of(1.0)


def test_labels_without_weights_are_plain_losses() -> None:
    """0 and 1, as where student and teacher are compared."""
    assert losses_for(0.05, 1) == DISAGREEMENT
    assert counts_for({(SURE, True): 3, (SURE, False): 40}, 1) == (40, 3)


@given(st.floats(0.001, 0.9), st.floats(LEAST_PROBABILITY, 1), st.booleans())
def test_a_weighted_loss_is_never_rounded_up(m0: float, probability: float, wrong: bool) -> None:
    """Its exact value is m0 + w / limit (loss - m0); what the detector takes lies at most a step below."""
    weight = weight_of(probability)
    limit = limit_for({(weight, wrong): 1}, 1)
    losses, counts = losses_for(m0, limit), counts_for({(weight, wrong): 1}, limit)

    taken = math.fsum(loss * count for loss, count in zip(losses, counts, strict=True))
    exact = m0 + weight / (limit * COARSE) * (wrong - m0)
    assert sum(counts) == 1
    assert exact - 0.126 <= taken <= exact + 1e-12
    assert 0 <= min(losses) <= max(losses) <= 1


@pytest.mark.parametrize("bias", [-1.0, -0.5, 0.0, 0.5, 1.0])
def test_the_bets_stay_fair_where_labelling_depends_on_the_answer(bias: float) -> None:
    """Two kinds of answers, one labelled four times as often and wrong more often, or less: at the null, no bet
    gains on average over what is labelled. Without weights, one side of these would."""
    m0 = 0.1
    kinds = ((0.4, m0 + 0.05 * bias), (0.1, m0 - 0.05 * bias))  # chosen, wrong; as many of each
    labelled = sum(chosen for chosen, _ in kinds)
    limit = limit_for({(weight_of(0.1), True): 1}, 1)
    terms = terms_for(m0, losses_for(m0, limit))

    gains = [0.0] * len(terms.bets)
    for chosen, rate in kinds:
        for wrong, share in ((True, rate), (False, 1 - rate)):
            evidence = terms.log_evidence(counts_for({(weight_of(chosen), wrong): 1}, limit))
            for place, log in enumerate(evidence):
                gains[place] += chosen / labelled * share * math.exp(log)

    assert max(gains) <= 1 + 1e-9


def test_the_limit_grows_and_never_shrinks() -> None:
    """The least power of two that no weight exceeds."""
    assert limit_for({}, 4) == 4
    assert limit_for({(SURE, True): 1}, 1) == 1
    assert limit_for({(weight_of(0.05), True): 1}, 1) == 32
    assert limit_for({(weight_of(0.5), False): 1}, 32) == 32


def test_the_null_is_the_exact_bound_of_the_first_labels_and_the_tolerance() -> None:
    """Also where all of them weigh the same; uneven ones prove less."""
    sure = learnt(NOTHING_LEARNT, {(SURE, True): 10, (SURE, False): 190})
    rare = learnt(NOTHING_LEARNT, {(weight_of(0.05), True): 10, (weight_of(0.05), False): 190})
    uneven = learnt(sure, {(weight_of(0.02), False): 1})
    bound = upper_bound(10, 200, REFERENCE_DELTA / 4)

    for reference in (sure, rare):
        null = null_of_labels(reference, 4, 0.02)
        assert null.m0 == pytest.approx(bound + 0.02)
        assert (null.source, null.rate) == ("labels", pytest.approx(0.05))
        assert "10 of the first 200 labels" in null.reason
    assert uneven.effective < 30
    assert null_of_labels(uneven, 4, 0.02).m0 > bound + 0.02


def test_references_add_up() -> None:
    """Ticks may cut the labels wherever they like."""
    first, second = {(SURE, True): 1}, {(SURE, False): 2, (weight_of(0.3), True): 1}

    assert learnt(learnt(NOTHING_LEARNT, first), second) == learnt(NOTHING_LEARNT, {**first, **second})
