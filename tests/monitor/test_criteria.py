"""What is known of each criterion: its value, and bounds that hold however often somebody looks."""

import numpy as np
import pytest

from ledger.configuration import FallbackSection
from monitor import criteria
from monitor.calibration import ReliabilityBin, calibration_error, reliability
from monitor.criteria import calibration_bounds
from monitor.histograms import LATENCY_EDGES, UNIT, place
from monitor.intervals import confidence_sequence
from monitor.sums import SliceSums, merged
from tests.monitor.world import A, B, build_pair

ALPHA = 0.05


def test_fidelity_and_regret_have_the_bounds_of_their_shares() -> None:
    """Regret is the share of labelled pairs where the teacher alone is right; gains are not set against it."""
    sums = SliceSums(
        pairs=400,
        agreements=380,
        both_right=150,
        student_alone_right=20,
        teacher_alone_right=10,
        both_wrong=20,
    )
    fidelity, regret = criteria.fidelity(sums, ALPHA), criteria.accuracy(sums, ALPHA)

    assert (fidelity.count, fidelity.value) == (400, 0.95)
    assert (fidelity.low, fidelity.high) == confidence_sequence(380, 400, ALPHA)
    assert (regret.count, regret.value) == (200, 0.05)
    assert (regret.low, regret.high) == confidence_sequence(10, 200, ALPHA)


def test_weighted_labels_bound_the_regret_by_their_effective_number() -> None:
    """Twenty regrets that all were labelled, beside eighty answers of which a quarter was: a fifth, and not a half."""
    regret = SliceSums.of_label(build_pair(A, B), 0, 1.0)
    right = SliceSums.of_label(build_pair(A, A), 0, 0.25)
    sums = merged([regret] * 20 + [right] * 20)
    known = criteria.accuracy(sums, ALPHA)
    size = 100**2 / (20 * 16 + 20)

    assert (known.count, known.value) == (40, pytest.approx(0.2))
    assert (known.low, known.high) == pytest.approx(confidence_sequence(0.2 * size, size, ALPHA))
    assert known.counts.endswith("20 of 40 labelled pairs, which weigh as much as 29 equal ones")


def test_calibration_is_bounded_bin_by_bin() -> None:
    """A bin adds the least and the largest gap that its share may have, by its part of alpha."""
    bins = [ReliabilityBin(0, 0.0, 0)] * 19 + [ReliabilityBin(1000, 950.0, 700)]
    low, high = calibration_bounds(bins, ALPHA)

    least, most = confidence_sequence(700, 1000, ALPHA / 20)
    assert low == pytest.approx(0.95 - most)
    assert high == pytest.approx(0.95 - least)
    assert calibration_bounds([ReliabilityBin(0, 0.0, 0)], ALPHA) == (None, None)


def test_the_bounds_of_the_calibration_error_hold_the_true_one_at_every_look() -> None:
    """For a student that says 0.8 and 0.95 and is right in 0.7 and 0.9 of cases; 100 streams, 20 looks each."""
    chance, missed = np.random.default_rng(4), 0
    for _ in range(100):
        confidence = chance.choice([0.8, 0.95], 1000)
        right = chance.random(1000) < np.where(confidence == 0.8, 0.7, 0.9)
        missed += any(not _holds(confidence[:n].tolist(), right[:n].tolist()) for n in range(50, 1001, 50))
    assert missed <= 5


def _holds(confidence: list[float], right: list[bool]) -> bool:
    bins = reliability(confidence, right, 20)
    low, high = calibration_bounds(bins, ALPHA)
    true = sum(0.1 if value == 0.8 else 0.05 for value in confidence) / len(confidence)
    assert low is not None
    assert high is not None
    assert low <= calibration_error(bins) <= high
    return low <= true <= high


def test_calibration_reads_the_bins_against_the_teacher() -> None:
    """Not those against labels."""
    sums = SliceSums(
        pairs=10,
        reliability_pairs=((19, 10),),
        reliability_confidence=((19, 10 * UNIT),),
        reliability_right=((19, 8),),
        label_pairs=((0, 10),),
    )
    assert criteria.calibration(sums, ALPHA).value == pytest.approx(0.2)


def test_latency_is_that_of_the_slowest_hundredth() -> None:
    """In seconds, with the edges of its histogram as bounds."""
    fast, slow = place(1000, LATENCY_EDGES), place(50_000, LATENCY_EDGES)
    known = criteria.latency(SliceSums(student_latency=((fast, 9_500), (slow, 500))), ALPHA)
    assert known.value == pytest.approx(0.05, rel=0.1)
    assert known.low is not None
    assert known.high is not None
    assert known.low <= 0.05 <= known.high
    assert criteria.latency(SliceSums(), ALPHA).high is None


def test_cost_follows_from_what_the_certificate_would_serve() -> None:
    """The student runs on everything, the teacher on the rest and on audits; without a certificate nothing is saved."""
    sums = {
        "all": SliceSums(
            pairs=1000,
            agreements=1000,
            coverage_pairs=((50, 200), (90, 800)),
        )
    }
    fallback = FallbackSection(student_cost=0.05, audit_share=0.02)
    known = criteria.cost(sums, (), {"all": 0.8}, fallback, ALPHA)
    low, high = confidence_sequence(800, 1000, ALPHA)

    assert known.value == pytest.approx(0.734)  # .80 - .05 - .016
    assert known.low == pytest.approx(low * 0.98 - 0.05)
    assert known.high == pytest.approx(high * 0.98 - 0.05)
    assert criteria.cost(sums, (), {}, fallback, ALPHA).value == pytest.approx(-0.05)
