"""Divergences against values computed with scipy 1.17.1."""

import math

import pytest

from monitor.divergence import (
    brier,
    cross_entropy_nats,
    is_clipped,
    jensen_shannon_bits,
    kullback_leibler_nats,
    normalised,
    total_variation,
)

P, Q = (0.7, 0.2, 0.1), (0.5, 0.3, 0.2)


@pytest.mark.parametrize(
    ("computed", "reference"),
    [
        (kullback_leibler_nats(P, Q), 0.08512282595722175),
        (kullback_leibler_nats(Q, P), 0.09203285023383176),
        (jensen_shannon_bits(P, Q), 0.03159672228746764),
        (total_variation(P, Q), 0.2),
        (cross_entropy_nats(P, Q), 0.886941378500559),
        (cross_entropy_nats(P, P), 0.8018185525433373),
        (brier(P, Q), 0.06),
    ],
)
def test_divergences_agree_with_scipy(computed: float, reference: float) -> None:
    """Base, direction and the missing square root are those of the names."""
    assert computed == pytest.approx(reference, rel=1e-12)


def test_a_certain_wrong_answer_has_a_finite_loss() -> None:
    """The floor bounds both logarithmic losses and is told of."""
    assert kullback_leibler_nats((1.0, 0.0), (0.0, 1.0)) == pytest.approx(-math.log(1e-12))
    assert cross_entropy_nats((1.0, 0.0), (0.0, 1.0)) == pytest.approx(-math.log(1e-12))
    assert is_clipped((1.0, 0.0), (0.0, 1.0))
    assert not is_clipped(P, Q)


def test_opposite_answers_are_as_far_apart_as_can_be() -> None:
    """Both bounded divergences reach 1."""
    assert total_variation((1.0, 0.0), (0.0, 1.0)) == 1.0
    assert jensen_shannon_bits((1.0, 0.0), (0.0, 1.0)) == 1.0


def test_rounded_probabilities_are_normalised() -> None:
    """A teacher that rounds to 0.99 in all is compared by its proportions."""
    assert normalised((0.66, 0.33)) == pytest.approx((2 / 3, 1 / 3))
    assert math.fsum(normalised((0.66, 0.33))) == 1.0


def test_the_smallest_probability_divides_nothing_by_zero() -> None:
    """Half of it rounds to 0."""
    assert jensen_shannon_bits((1.0, 5e-324), (1.0, 0.0)) == 0.0
