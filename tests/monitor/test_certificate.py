"""Certificates hold their error rate, and name no threshold where none is provable."""

import numpy as np
import pytest

from monitor.certificate import certify, least_accepted, lowest_threshold, passing
from monitor.sums import SliceSums


def histogram(pairs: dict[int, int], disagreements: dict[int, int]) -> SliceSums:
    """Counts by confidence in hundredths."""
    return SliceSums(
        pairs=sum(pairs.values()),
        agreements=sum(pairs.values()) - sum(disagreements.values()),
        coverage_pairs=tuple(sorted(pairs.items())),
        coverage_disagreements=tuple(sorted(disagreements.items())),
    )


COUNTS = list(zip((200, 400, 600, 800, 1000), (0, 1, 4, 9, 22), strict=True))


def test_a_fixed_sequence_stops_at_the_first_failure() -> None:
    """Four of five pass at 10 %, where Bonferroni would have passed three."""
    assert passing(COUNTS, 0.02, [0.1, 0, 0, 0, 0]) == [True, True, True, True, False]
    assert passing([(200, 10), *COUNTS[1:]], 0.02, [0.1, 0, 0, 0, 0]) == [False] * 5
    assert passing([], 0.02, []) == []


def test_a_pass_hands_its_level_on_and_a_failure_keeps_it() -> None:
    """The fourth, p = .042, passes with what the third hands on to it, and not with its own share alone."""
    shares = [0.0, 0.0, 0.03, 0.03, 0.0]

    assert passing(COUNTS, 0.02, shares) == [False, False, True, True, False]
    assert passing([*COUNTS[:2], (600, 100), *COUNTS[3:]], 0.02, shares) == [False] * 5


@pytest.mark.parametrize(("share", "delta", "least"), [(0.02, 0.05, 149), (0.01, 0.05 / 8, 505)])
def test_the_least_number_of_pairs(share: float, delta: float, least: int) -> None:
    """One fewer could not pass even without a disagreement."""
    assert least_accepted(share, delta) == least
    assert passing([(least, 0)], share, [delta]) == [True]
    assert passing([(least - 1, 0)], share, [delta]) == [False]


def test_the_lowest_passing_threshold_is_certified() -> None:
    """Confident answers are right, unsure ones are not: the threshold lies between them."""
    sums = histogram({95: 400, 80: 300, 60: 300}, {95: 4, 80: 6, 60: 120})

    certificate = certify({"all": sums}, 0.1, 0.05, "7")

    assert certificate.thresholds == {"all": 0.8}
    assert certificate.accepted == {"all": 700}
    assert certificate.disagreements == {"all": 10}
    assert certificate.pairs == {"all": 1000}
    assert certificate.teacher_epoch == "7"


def test_a_slice_that_proves_nothing_is_left_out() -> None:
    """Neither the strictest threshold nor 1.0 is put in its place."""
    bad, small = histogram({95: 400}, {95: 200}), histogram({95: 10}, {})

    certificate = certify({"all": bad, "area=a": small, "area=b": SliceSums.empty()}, 0.1, 0.05, "1")

    assert certificate.thresholds == {}
    assert certificate.pairs == {"all": 400, "area=a": 10, "area=b": 0}


def test_small_slices_take_nothing_from_the_others() -> None:
    """A slice that cannot pass, as its number of pairs shows, gets no share of delta."""
    sums = histogram({95: 60}, {})
    small = {f"area={index}": histogram({95: 5}, {}) for index in range(50)}

    assert certify({"all": sums}, 0.1, 0.05, "1").thresholds == {"all": 0.95}
    assert certify({"all": sums, **small}, 0.1, 0.05, "1").thresholds == {"all": 0.95}


def test_a_strict_threshold_that_fails_does_not_end_the_search() -> None:
    """An overconfident handful at the top is passed over by the later starts."""
    sums = histogram({99: 60, 90: 400, 85: 400, 80: 400, 75: 400}, {99: 20, 90: 0, 85: 0, 80: 0, 75: 0})

    threshold = lowest_threshold(sums, 0.1, 0.05)

    assert threshold is not None
    assert threshold.confidence == 0.75


def test_the_risk_is_held_with_the_promised_probability() -> None:
    """Where true disagreement rises as confidence falls, at most delta of 300 certificates are wrong.

    Disagreement among answers of confidence c is (1 - c) / 2, so above a threshold t it is (1 - t) / 4.
    """
    generator = np.random.default_rng(11)
    wrong = certified = 0
    for _ in range(300):
        bins = generator.integers(0, 100, size=2000)
        disagrees = generator.random(2000) < (1 - (bins + 0.5) / 100) / 2
        pairs = {int(b): int(n) for b, n in enumerate(np.bincount(bins, minlength=100)) if n}
        missed = {int(b): int(n) for b, n in enumerate(np.bincount(bins[disagrees], minlength=100)) if n}
        threshold = lowest_threshold(histogram(pairs, missed), 0.1, 0.1)
        certified += threshold is not None
        wrong += threshold is not None and (1 - threshold.confidence) / 4 > 0.1

    assert certified >= 250
    assert wrong <= 42  # 30 expected at most, and 2.3 standard deviations
