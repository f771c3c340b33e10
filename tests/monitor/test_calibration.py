"""Calibration errors against values computed with torchmetrics and uncertainty-calibration 0.1.4."""

import math

import pytest

from monitor.calibration import (
    ReliabilityBin,
    bin_of,
    calibration_error,
    debiased_calibration_error,
    edges,
    greatest_gap,
    reliability,
    squared_calibration_error,
)
from monitor.divergence import brier, cross_entropy_nats

CONFIDENCE_3, RIGHT_3 = (0.25, 0.25, 0.55, 0.75, 0.75), (False, False, True, True, True)
CONFIDENCE_4 = (0.05, 0.15, 0.22, 0.31, 0.38, 0.45, 0.55, 0.62, 0.71, 0.79, 0.88, 0.97)
RIGHT_4 = tuple(bool(y) for y in (0, 0, 1, 0, 0, 1, 0, 1, 1, 0, 1, 1))
CONFIDENCE_5 = (0.9,) * 20 + (0.6,) * 20
RIGHT_5 = tuple(index < 14 for index in range(20)) + tuple(index < 11 for index in range(20))


@pytest.mark.parametrize(
    ("confidence", "right", "bins", "expected", "squared", "greatest"),
    [
        (CONFIDENCE_3, RIGHT_3, 2, 0.29, 0.29183328574147716, 0.31666666666666665),
        (CONFIDENCE_4, RIGHT_4, 5, 0.04666666666666666, 0.0568257570707744, 0.1),
        (CONFIDENCE_5, RIGHT_5, 10, 0.125, 0.14577379737113239, 0.2),
    ],
    ids=["torchmetrics doc-test", "uncertainty-calibration", "two confidences"],
)
def test_binned_errors_agree_with_the_libraries(
    confidence: tuple[float, ...],
    right: tuple[bool, ...],
    bins: int,
    expected: float,
    squared: float,
    greatest: float,
) -> None:
    """Absolute, squared and greatest gap."""
    binned = reliability(confidence, right, bins)

    assert calibration_error(binned) == pytest.approx(expected, rel=1e-12)
    assert squared_calibration_error(binned) == pytest.approx(squared, rel=1e-12)
    assert greatest_gap(binned) == pytest.approx(greatest, rel=1e-12)


def test_the_debiased_error_takes_off_the_noise_of_the_bins() -> None:
    """It agrees with uncertainty-calibration's get_binning_ce(p=2, debias=True)."""
    binned = reliability(CONFIDENCE_5, RIGHT_5, 10)

    assert debiased_calibration_error(binned) == pytest.approx(0.0959714869937391, rel=1e-12)


def test_losses_of_single_confidences_agree() -> None:
    """Brier, halved for two classes, and negative log-likelihood of the same doc-test."""
    truth = [(0.0, 1.0) if y else (1.0, 0.0) for y in RIGHT_3]
    told = [(1 - confidence, confidence) for confidence in CONFIDENCE_3]
    pairs = list(zip(truth, told, strict=True))

    assert sum(brier(p, q) / 2 for p, q in pairs) / 5 == pytest.approx(0.0905)
    assert sum(cross_entropy_nats(p, q) for p, q in pairs) / 5 == pytest.approx(0.34971305811254877)


def test_full_confidence_falls_in_the_last_bin() -> None:
    """There is no phantom bin beyond it, even for a rounding error above 1."""
    assert bin_of(1.0, 20) == 19
    assert bin_of(1.0 + 1e-7, 20) == 19
    assert bin_of(0.0, 20) == 0


def test_an_edge_belongs_to_the_bin_above_it() -> None:
    """For every edge of every grid in use, 0.29 included, where 0.29 * 100 rounds to below 29."""
    for bins in (5, 20, 100):
        for index, edge in enumerate(edges(bins)):
            assert bin_of(edge, bins) == index
            assert bin_of(math.nextafter(edge, 0), bins) == max(0, index - 1)


def test_no_answers_have_no_error() -> None:
    """Undefined is nan, not 0."""
    empty = [ReliabilityBin(0, 0.0, 0)]
    for error in (
        calibration_error,
        squared_calibration_error,
        debiased_calibration_error,
        greatest_gap,
    ):
        assert math.isnan(error(empty))
