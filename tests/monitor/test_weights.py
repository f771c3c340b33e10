"""Labels weighted by one over the probability of being labelled: unbiased, exact, honest about their number."""

import math
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.labels import LEAST_PROBABILITY
from ledger.observation import Observation
from monitor.calibration import ReliabilityBin, calibration_noise, debiased_calibration_error
from monitor.histograms import COARSE
from monitor.intervals import confidence_sequence
from monitor.label_shares import label_shares
from monitor.statistics import statistics_of
from monitor.sums import SliceSums, merged
from monitor.weights import weight_of, weighted, weights_of
from tests.monitor.world import A, B, build_pair

SURE = Observation((1.0, 0.0))


def labelled(label: int, probability: float, inclusion: float = 1.0) -> SliceSums:
    """Teacher and student say the first class."""
    return SliceSums.of_label(build_pair(A, A, inclusion=inclusion), label, probability)


@given(st.integers(-(2**38), 2**38), st.floats(LEAST_PROBABILITY, 1))
def test_weighted_amounts_are_the_product_rounded_down(amount: int, probability: float) -> None:
    """One and many, whatever the sign, within 64 bits; a weight of 1 changes nothing."""
    weight = weight_of(probability)

    assert weighted(amount, weight) == amount * weight // COARSE
    assert weighted(np.array([amount]), np.array([weight])).tolist() == [amount * weight // COARSE]
    assert weighted(amount, weight_of(1.0)) == amount


@given(st.floats(0, 1))
def test_one_weight_is_that_of_many(probability: float) -> None:
    """And a label that was all but impossible weighs no more than the least that may be stated."""
    assert weights_of(np.array([probability])).tolist() == [weight_of(probability)]
    assert COARSE <= weight_of(probability) <= weight_of(LEAST_PROBABILITY) == 1000 * COARSE


def test_each_label_stands_for_those_that_were_not_chosen() -> None:
    """Ninety rights of which a ninth was labelled, beside ten wrongs that all were."""
    sums = merged([labelled(0, 1 / 9)] * 10 + [labelled(1, 1.0)] * 10)

    assert sums.labelled == 20
    assert sums.label_weight == pytest.approx(100, rel=1e-5)
    assert (sums.accuracy, sums.teacher_accuracy) == (pytest.approx(0.9), pytest.approx(0.9))
    assert sums.effective_labels == pytest.approx(100**2 / (10 * 81 + 10), rel=1e-5)


def test_audits_weigh_by_their_share_and_the_stated_probability() -> None:
    """A pair that an audit of a twentieth brought, labelled with probability a half, stands for forty."""
    assert labelled(0, 0.5, inclusion=0.05).label_weight == pytest.approx(40, rel=1e-5)
    assert labelled(0, 1.0, inclusion=0.05).label_weight == pytest.approx(20, rel=1e-5)


def test_regret_is_weighted() -> None:
    """The teacher alone was right on one in ten, whatever was labelled how often."""
    wrong = SliceSums.of_label(build_pair(A, B), 0, 1.0)
    right = SliceSums.of_label(build_pair(A, A), 0, 0.5)

    assert merged([wrong] * 4 + [right] * 18).student_regret == pytest.approx(0.1)


def test_labels_of_equal_weight_count_in_full() -> None:
    """A constant probability changes no share and loses no evidence."""
    rare = merged([labelled(n % 4 == 0, 0.05) for n in range(40)])
    sure = merged([labelled(n % 4 == 0, 1.0) for n in range(40)])

    assert rare.effective_labels == pytest.approx(40)
    assert rare.accuracy == sure.accuracy == 0.75
    assert rare.label_calibration_error == pytest.approx(sure.label_calibration_error, abs=1e-6)
    assert (sure.effective_labels, sure.label_weight) == (40, 40)


def test_bounds_of_the_accuracy_widen_with_uneven_weights() -> None:
    """Forty labels of which one stands for most of the others say little."""
    even = merged([labelled(n % 4 == 0, 1.0) for n in range(40)])
    uneven = even.merge(labelled(0, 0.01))
    widths = []
    for sums in (even, uneven):
        accuracy = label_shares(sums).accuracy
        assert accuracy.low is not None
        assert accuracy.high is not None
        widths.append(accuracy.high - accuracy.low)

    even_accuracy = label_shares(even).accuracy
    assert (even_accuracy.low, even_accuracy.high) == confidence_sequence(30, 40, 0.05)
    assert widths[1] > 2 * widths[0]
    assert label_shares(SliceSums()).accuracy.low is None


def test_every_label_statistic_is_of_the_whole_and_not_of_the_chosen() -> None:
    """Half of the answers are sure and mostly labelled: weighting gives what labelling everything gives."""
    draw = random.Random(7)
    pairs = [build_pair(A, SURE if n % 2 else A) for n in range(20_000)]
    truths = [int(draw.random() < 0.3) for _ in pairs]
    chances = [0.8 if n % 2 else 0.1 for n in range(20_000)]
    every = merged(SliceSums.of_label(pair, truth) for pair, truth in zip(pairs, truths, strict=True))
    chosen = [draw.random() < chance for chance in chances]
    some = merged(
        SliceSums.of_label(pair, truth, chance)
        for pair, truth, chance, was in zip(pairs, truths, chances, chosen, strict=True)
        if was
    )
    whole, part = (statistics_of(sums, None, 2) for sums in (every, some))

    for name in ("brier", "nll_nats", "accuracy"):
        assert part["labels"][name] == pytest.approx(whole["labels"][name], rel=0.05)
    for name in ("error", "error_debiased", "error_smooth", "temperature_score"):
        was, found = whole["label_calibration"][name], part["label_calibration"][name]
        assert found == pytest.approx(was, abs=0.02)
    coverages = [[point["coverage"] for point in one["label_risk_coverage"]] for one in (whole, part)]
    assert coverages[1] == pytest.approx(coverages[0], abs=0.02)
    assert part["labels"]["labelled_ratio"] is None  # of no pairs: these sums hold labels alone
    assert part["labels"]["effective_labels"] < part["labels"]["labelled"] / 2


def test_noise_of_calibration_is_that_of_the_effective_answers() -> None:
    """Of four hundred answers that say as much as forty."""
    few, many = ReliabilityBin(40, 28.0, 28), ReliabilityBin(400, 280.0, 280)
    weighted_ones = ReliabilityBin(400.0, 280.0, 280.0, effective=40.0)

    assert calibration_noise([weighted_ones]) == calibration_noise([few])
    assert calibration_noise([weighted_ones]) > 2 * calibration_noise([many])
    off = ReliabilityBin(400.0, 300.0, 260.0, effective=2.5)
    assert debiased_calibration_error([off]) < math.sqrt(0.1**2)


def test_a_label_without_weights_adds_no_excess() -> None:
    """Rows of deployments that state no probability look as they always did."""
    document = labelled(0, 1.0).to_json()

    assert not [name for name in document if name.endswith("_excess")]
    assert document["label_confidence"] == [18, round(0.9 * 2**32)]
