"""Whether the share of pairs that get a label moved: a refusal needs more than chance, and more than a little."""

import random

import pytest

from monitor.arrivals import MARGIN, NO_FLOW, Flow, flow_of, joined, moved
from monitor.weights import weight_of

SURE = weight_of(1.0)


def flow(pairs: int, labels: int, probability: float = 1.0) -> Flow:
    return flow_of(pairs, [weight_of(probability)] * labels)


@pytest.mark.parametrize(
    ("since", "refused"),
    [
        (flow(1_000, 100), False),
        (flow(1_000, 130), False),  # within the margin, however many came
        (flow(1_000_000, 130_000), False),
        (flow(1_000, 300), True),
        (flow(1_000, 20), True),
        (flow(20, 4), False),  # beyond the margin, and by chance
        (flow(0, 40), True),  # labels alone
    ],
)
def test_a_share_of_a_tenth_moves_or_does_not(since: Flow, refused: bool) -> None:
    """Ten thousand pairs before, of which a tenth was labelled."""
    reason = moved(flow(10_000, 1_000), since)

    assert (reason is not None) is refused
    assert reason is None or "10.0%" in reason


def test_without_labels_before_there_is_nothing_to_compare() -> None:
    """So the alarm is refused: nobody can say that nothing moved."""
    assert moved(NO_FLOW, flow(10, 10)) is not None
    assert moved(flow(10, 10), NO_FLOW) is not None


def test_labels_that_say_how_they_were_chosen_may_be_chosen_more_often() -> None:
    """A twentieth, then a fifth, each with its probability: both stand for every pair."""
    before, since = flow(20_000, 1_000, 0.05), flow(2_000, 400, 0.2)

    assert before.share == pytest.approx(1, rel=1e-4)
    assert since.share == pytest.approx(1, rel=1e-4)
    assert moved(before, since) is None
    assert moved(flow(20_000, 1_000), flow(2_000, 400)) is not None


def test_uneven_weights_count_as_their_effective_number() -> None:
    """Four labels of a hundred each are four labels, not four hundred."""
    few = joined((flow(100, 4, 0.01), flow(100, 100)))

    assert few.effective == pytest.approx(500**2 / 40_100, rel=1e-3)
    assert moved(flow(10_000, 9_000), few) is None


def test_a_share_at_the_margin_is_refused_once_in_a_hundred() -> None:
    """Drawn anew four hundred times."""
    draw = random.Random(3)

    def labels(pairs: int, share: float) -> Flow:
        return flow(pairs, sum(draw.random() < share for _ in range(pairs)))

    refused = sum(
        moved(labels(2_000, 0.05), labels(600, 0.05 * (1 + MARGIN))) is not None for _ in range(400)
    )

    assert refused <= 12  # 4 on average; more has a probability below one in a thousand
