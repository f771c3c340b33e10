"""Numbers that other implementations print, against ours; docs/statistics.md lists them by name.

Each test names the library and version whose value it holds: scipy 1.17.1, scikit-learn 1.9.1, numpy 2.4.6,
torchmetrics 1.9.0, uncertainty-calibration 0.1.4, relplot 1.0.3, Evidently 0.7.23, NannyML 0.13.1.
"""

import math

import numpy as np
import pytest

from ledger.observation import Observation
from monitor import shift
from monitor.calibration import (
    calibration_error,
    debiased_calibration_error,
    greatest_gap,
    reliability,
    squared_calibration_error,
)
from monitor.certificate import passing
from monitor.detector import Terms, new_detector, update
from monitor.divergence import (
    brier,
    cross_entropy_nats,
    jensen_shannon_bits,
    kullback_leibler_nats,
    total_variation,
)
from monitor.histograms import COARSE, Floats
from monitor.intervals import at_most_p_value, confidence_sequence, holm, upper_bound
from monitor.smoothing import smooth_calibration_error
from monitor.statistics import statistics_of
from monitor.sums import SliceSums, merged
from monitor.temperature import BETAS, best_beta, tempered
from tests.monitor.world import build_pair

P, Q = (0.7, 0.2, 0.1), (0.5, 0.3, 0.2)
THEN, NOW = (400, 300, 200, 100), (30, 30, 25, 15)
CONFIDENCE_3, RIGHT_3 = (0.25, 0.25, 0.55, 0.75, 0.75), (False, False, True, True, True)
CONFIDENCE_4 = (0.05, 0.15, 0.22, 0.31, 0.38, 0.45, 0.55, 0.62, 0.71, 0.79, 0.88, 0.97)
RIGHT_4 = tuple(bool(y) for y in (0, 0, 1, 0, 0, 1, 0, 1, 1, 0, 1, 1))
CONFIDENCE_5 = (0.9,) * 20 + (0.6,) * 20
STREAM_6 = (0, 0, 1, 0, 1, 1, 0, 0, 1, 1)
RIGHT_5 = tuple(index < 14 for index in range(20)) + tuple(index < 11 for index in range(20))


def on_grid(confidence: tuple[float, ...], right: tuple[bool, ...], points: int) -> tuple[Floats, Floats]:
    """Residual and density, shared out linearly between neighbours."""
    residual, density = np.zeros(points), np.zeros(points)
    for sure, hit in zip(confidence, right, strict=True):
        low = min(int(sure * (points - 1)), points - 2)
        above = sure * (points - 1) - low
        for place, share in ((low, 1 - above), (low + 1, above)):
            density[place] += share
            residual[place] += share * (sure - hit)
    return residual, density


def test_divergences_of_two_distributions() -> None:
    """R1: scipy.stats.entropy and scipy.spatial.distance.jensenshannon (squared: theirs is the distance)."""
    assert kullback_leibler_nats(P, Q) == pytest.approx(0.08512282595722175, rel=1e-13)
    assert kullback_leibler_nats(Q, P) == pytest.approx(0.09203285023383176, rel=1e-13)
    assert jensen_shannon_bits(P, Q) == pytest.approx(0.03159672228746764, rel=1e-13)
    assert math.sqrt(jensen_shannon_bits(P, Q)) == pytest.approx(0.17775466882044938, rel=1e-13)
    assert math.sqrt(jensen_shannon_bits(P, Q) * math.log(2)) == pytest.approx(0.14799046918127456, rel=1e-13)
    assert total_variation(P, Q) == pytest.approx(0.2, rel=1e-13)
    assert cross_entropy_nats(P, Q) == pytest.approx(0.886941378500559, rel=1e-13)
    assert cross_entropy_nats(P, P) == pytest.approx(0.8018185525433373, rel=1e-13)


def test_shifts_of_two_histograms() -> None:
    """R2: PSI and one Jensen-Shannon distance of Evidently, the other of NannyML, chi-square of scipy."""
    assert shift.population_stability(THEN, NOW) == pytest.approx(0.060198640216296805, rel=1e-12)
    assert shift.chi_square_p_value(THEN, NOW) == pytest.approx(0.1321708289347667, rel=1e-12)
    assert shift.greatest_step(THEN, NOW) == pytest.approx(0.1, rel=1e-12)
    bits = shift.divergence_bits(THEN, NOW)
    assert math.sqrt(bits) == pytest.approx(0.10396737285119008, rel=1e-12)
    assert math.sqrt(bits * math.log(2)) == pytest.approx(0.08655851567720994, rel=1e-12)


def test_a_shift_of_one_bin_moves_its_width() -> None:
    """Wasserstein-1 of values that all move by one bin is that bin's width."""
    assert shift.earth_moved((10, 0, 0), (0, 10, 0), 0.25) == pytest.approx(0.25)


def test_binned_calibration_of_the_doc_test() -> None:
    """R3: torchmetrics, two bins."""
    bins = reliability(CONFIDENCE_3, RIGHT_3, 2)

    assert calibration_error(bins) == pytest.approx(0.29, rel=1e-12)
    assert squared_calibration_error(bins) == pytest.approx(0.29183328574147716, rel=1e-12)
    assert greatest_gap(bins) == pytest.approx(0.31666666666666665, rel=1e-12)


def test_binned_calibration_of_twelve_answers() -> None:
    """R4: uncertainty-calibration's get_ece(num_bins=5)."""
    bins = reliability(CONFIDENCE_4, RIGHT_4, 5)

    assert calibration_error(bins) == pytest.approx(0.04666666666666666, rel=1e-12)
    assert squared_calibration_error(bins) == pytest.approx(0.0568257570707744, rel=1e-12)
    assert greatest_gap(bins) == pytest.approx(0.1, rel=1e-12)


@pytest.mark.parametrize(
    ("confidence", "right", "score", "nats"),
    [
        (CONFIDENCE_3, RIGHT_3, 0.0905, 0.34971305811254877),
        (CONFIDENCE_4, RIGHT_4, 0.19556666666666675, 0.5594601057027929),
        (CONFIDENCE_5, RIGHT_5, 0.25, None),
    ],
    ids=["R3", "R4", "R5"],
)
def test_losses_of_two_classes(
    confidence: tuple[float, ...], right: tuple[bool, ...], score: float, nats: float | None
) -> None:
    """R3, R4, R5: scikit-learn's brier_score_loss, half of ours, which adds up over both classes, and log_loss."""
    truth = [(0.0, 1.0) if y else (1.0, 0.0) for y in right]
    told = [(1 - sure, sure) for sure in confidence]

    assert sum(map(brier, truth, told)) / 2 / len(right) == pytest.approx(score, rel=1e-12)
    if nats is not None:
        found = sum(map(cross_entropy_nats, truth, told)) / len(right)
        assert found == pytest.approx(nats, rel=1e-12)


def test_debiased_calibration() -> None:
    """R5: uncertainty-calibration's get_binning_ce(p=2, debias=True)."""
    bins = reliability(CONFIDENCE_5, RIGHT_5, 10)

    assert squared_calibration_error(bins) == pytest.approx(0.14577379737113239, rel=1e-12)
    assert debiased_calibration_error(bins) == pytest.approx(0.0959714869937391, rel=1e-12)


@pytest.mark.parametrize(
    ("confidence", "right", "expected"),
    [
        (CONFIDENCE_4, RIGHT_4, 0.07597411453059746),
        (CONFIDENCE_5, RIGHT_5, 0.12542871782566076),
    ],
    ids=["R4", "R5"],
)
def test_smooth_calibration(confidence: tuple[float, ...], right: tuple[bool, ...], expected: float) -> None:
    """R4, R5: relplot's smECE, on its grid of 1001 points; the grid that we keep differs by less than 1e-4."""
    assert smooth_calibration_error(*on_grid(confidence, right, 1001))[0] == pytest.approx(expected, rel=1e-9)
    assert smooth_calibration_error(*on_grid(confidence, right, 257))[0] == pytest.approx(expected, abs=1e-4)


def test_the_width_of_the_smoothing_is_relplots() -> None:
    """R4: sigma .078125."""
    assert smooth_calibration_error(*on_grid(CONFIDENCE_4, RIGHT_4, 1001))[1] == 0.078125


def test_one_bet_on_one_observation_a_tick() -> None:
    """R6: e-process, e-SR and e-CUSUM by their recursions; null .1, bet 2/9, so L(1) = 3 and L(0) = 7/9."""
    restarting = once = new_detector(Terms(0.1, (2 / 9,)))
    found = []
    for number, disagrees in enumerate(STREAM_6):
        restarting = update(restarting, 1.0, (1 - disagrees, disagrees), 0)
        once = update(once, 1.0 if number == 0 else 0.0, (1 - disagrees, disagrees), 0)
        cusum = restarting.standing.log_cusum_by_bet[0]
        found.append(tuple(map(math.exp, (once.log_wealth, restarting.log_wealth, cusum))))

    assert found[5] == pytest.approx((12.7037037037, 69.0370370370, 21.0), rel=1e-10)
    assert found[-1] == pytest.approx((69.1646090535, 400.3127572016, 114.3333333333), rel=1e-10)


def test_two_bets_are_worth_their_mean() -> None:
    """R6: e-SR tuned to .2 and to .4, weights a half each."""
    detector = new_detector(Terms(0.1, (0.1 / 0.9, 0.3 / 0.9)))
    for disagrees in STREAM_6:
        detector = update(detector, 1.0, (1 - disagrees, disagrees), 0)

    by_bet = [math.exp(log) for log in detector.standing.log_wealth_by_bet]
    assert by_bet == pytest.approx([103.1261155989, 896.378600823], rel=1e-10)
    assert math.exp(detector.log_wealth) == pytest.approx(499.7523582110, rel=1e-10)


def test_tick_form_of_the_detector() -> None:
    """R6: mean wealth after each of four ticks, null .05, three bets, one restart a tick."""
    detector = new_detector(Terms(0.05, (0.02, 0.1, 0.3)))
    for losses, expected in (
        (5, 0.24784159548764),
        (9, 2.00371250106215),
        (12, 38.3690714002296),
        (15, 25483.7266924182),
    ):
        detector = update(detector, 1.0, (100 - losses, losses), 0)
        assert math.exp(detector.log_wealth) == pytest.approx(expected, rel=1e-12)


def test_temperature_of_five_answers() -> None:
    """R7: scipy's minimum is beta .40075138; the parabola over nine betas comes within two hundredths."""
    logits = ((2, 0.5, -1), (0.2, 1.5, 0.1), (3, -0.5, 0), (0.4, 0.6, 0.2), (1, 2.5, -2))
    sums = np.zeros(len(BETAS) + 1)
    for row, label in zip(logits, (0, 1, 1, 2, 1), strict=True):
        weights = np.exp(row)
        truth = [float(index == label) for index in range(3)]
        sums += np.array(tempered(truth, (weights / weights.sum()).tolist())) / COARSE / 5

    assert sums[BETAS.index(1)] == pytest.approx(1.151750214183886, abs=2e-6)
    assert sums[-1] == pytest.approx(-0.4675793697, abs=2e-6)
    assert best_beta(sums[:-1].tolist()) == pytest.approx(0.40075138, abs=0.02)


def test_binomial_tails_and_bounds() -> None:
    """R8: scipy.stats.binom.cdf and Clopper-Pearson."""
    assert at_most_p_value(3, 500, 0.02) == pytest.approx(0.009812155535351051, rel=1e-9)
    assert at_most_p_value(5, 500, 0.02) == pytest.approx(0.0651918671024135, rel=1e-9)
    assert at_most_p_value(10, 1000, 0.02) == pytest.approx(0.010236548159763267, rel=1e-9)
    assert upper_bound(3, 500, 0.05) == pytest.approx(0.015433734876752685, rel=1e-9)
    assert upper_bound(5, 500, 0.05) == pytest.approx(0.020910322942267072, rel=1e-9)
    assert upper_bound(10, 1000, 0.05) == pytest.approx(0.016903175120562504, rel=1e-9)


def test_fixed_sequence_and_bonferroni() -> None:
    """R8: the first four thresholds pass in sequence, the first three after Bonferroni."""
    counts = list(zip((200, 400, 600, 800, 1000), (0, 1, 4, 9, 22), strict=True))

    assert passing(counts, 0.02, [0.1, 0, 0, 0, 0]) == [True] * 4 + [False]
    assert [at_most_p_value(k, n, 0.02) <= 0.1 / 5 for n, k in counts] == [True] * 3 + [False] * 2
    assert holm([at_most_p_value(k, n, 0.02) for n, k in counts], 0.1)[:3] == [True] * 3


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [
        (3, 50, 0.00431184, 0.22684167),
        (5, 100, 0.00714948, 0.15579444),
        (50, 1000, 0.02871992, 0.07923958),
        (0, 50, 0.0, 0.10464248),
    ],
)
def test_confidence_sequences(successes: int, trials: int, low: float, high: float) -> None:
    """R11: the Beta(1/2, 1/2) mixture at 95 %."""
    assert confidence_sequence(successes, trials, 0.05) == pytest.approx((low, high), abs=1e-8)


def test_merged_mean_and_variance() -> None:
    """R13: numpy's mean 7.2 and variance 63.7 (ddof 1) of (1, 2, 3) and (10, 20), here in twentieths."""
    sides = [merged(map(of_variation, side)) for side in ((1, 2, 3), (10, 20))]
    divergence = statistics_of(merged(sides), None, 2)["divergence"]

    assert divergence["total_variation"] * 20 == pytest.approx(7.2, rel=1e-8)
    assert (divergence["total_variation_deviation"] * 20) ** 2 * 5 / 4 == pytest.approx(63.7, rel=1e-8)


def of_variation(twentieths: int) -> SliceSums:
    """One pair of this total variation."""
    apart = Observation((1 - twentieths / 20, twentieths / 20))
    return SliceSums.of_pair(build_pair(Observation((1.0, 0.0)), apart))
