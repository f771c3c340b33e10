"""Mistakes that are documented of other libraries, and that this code could make as well: it does not.

docs/statistics.md says of each where it is documented, and which test here is about it.
"""

import math
from itertools import accumulate
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binomtest
from sqlalchemy import Engine
from sqlmodel import Session

from ledger.exchange_file import ExchangeFile
from ledger.observation import Observation
from monitor import shift
from monitor.calibration import (
    bin_of,
    bins_of,
    calibration_error,
    calibration_noise,
    reliability,
)
from monitor.certificate import HeldOut, certified_lines, least_accepted, lowest_threshold
from monitor.cycle import run_cycle
from monitor.detector import HISTORY, Detector, new_detector, terms_for, update
from monitor.histograms import confidence_bin
from monitor.intervals import at_most_p_value, lower_bound, upper_bound
from monitor.reports import merged_sums
from monitor.statistics import shifts
from monitor.sums import COVERAGE_EDGES, RELIABILITY_BINS, SliceSums
from monitor.trigger import log_threshold
from tests.monitor.world import TASK, A, B, add_student, build_configuration, build_pair, shadowed

TICK_US = 10_000_000


def test_both_samples_are_noisy() -> None:
    """E1: Evidently's default takes the reference for the truth and flags 28 % of null windows at 5 %; ours 5 %."""
    chance = np.random.default_rng(1)
    mix = (0.4, 0.3, 0.2, 0.1)
    flagged = [
        shift.chi_square_p_value(*chance.multinomial(500, mix, 2).tolist()) <= 0.05 for _ in range(2000)
    ]

    assert 0.03 <= sum(flagged) / 2000 <= 0.07


def test_resampled_noise_is_the_upper_end() -> None:
    """E2: Evidently's bootstrapped MMD compares with the 5th percentile of the null and flags every window of it."""
    chance, confidence = np.random.default_rng(4), np.repeat([0.55, 0.75, 0.95], 100)
    above = 0
    for _ in range(200):
        bins = reliability(confidence.tolist(), (chance.random(300) < confidence).tolist(), 20)
        above += calibration_error(bins) > calibration_noise(bins)

    assert 2 <= above <= 20  # of 200: the bound is the 95th percentile


def test_an_input_that_moves_alarms_nobody(tmp_path: Path, engine: Engine, exchanges: ExchangeFile) -> None:
    """E3: Evidently's distance of embeddings depends on their scale, and passes its fixed bound without drift. Ours are
    compared over fixed bins beside their noise, and never raise an alarm: only what harms does."""
    configuration = build_configuration(tmp_path)
    artifact = add_student(engine, tmp_path, {"all": (600, 570)}).artifact
    reference, sums = SliceSums.empty(), SliceSums.empty()
    for tick in range(1, 41):
        length, answer = (2, A) if tick < 20 else (5000, B)
        sides = {"input_words": (length,), "teacher": (answer,), "started_at_us": tick * TICK_US}
        made = [shadowed(tick * 100 + place, place > 0, artifact, **sides) for place in range(30)]
        exchanges.append([exchange for exchange, _ in made], [answer for _, answer in made])
        assert run_cycle(engine, configuration, tick * TICK_US).alarms == ()
        with Session(engine) as session:
            sums = merged_sums(session, TASK, artifact)["all"]
        reference = sums if tick < 20 else reference

    moved = shifts(sums.subtract(reference), reference, 2)
    for name in ("words", "teacher_classes"):
        assert moved[name]["population_stability"] > 10 * moved[name]["population_stability_noise"]  # type: ignore[operator]


def test_whole_counts_are_never_rounded_through_a_share() -> None:
    """E4: int(m * (k / m)) < k for one pair in twenty, in the reference code of selective prediction."""
    losing = [(m, k) for m in range(1, 600) for k in range(1, 20) if k <= m and int(m * (k / m)) < k]

    assert losing
    for m, k in losing:
        assert upper_bound(k, m, 0.001) > upper_bound(k - 1, m, 0.001)
    assert upper_bound(1, 501, 0.001) == pytest.approx(0.0183, abs=1e-4)


def test_counts_beyond_the_precision_of_floats_keep_their_p_value() -> None:
    """E5: a risk times a count in 32 bits is another count; ours are whole numbers up to the binomial tail."""
    assert int(np.float32(50_331_649 / 10**9) * np.float32(10**9)) != 50_331_649
    assert at_most_p_value(999_999, 50_000_000, 0.02) < at_most_p_value(1_000_000, 50_000_000, 0.02)


def test_a_slice_that_cannot_be_certified_has_no_threshold() -> None:
    """E5: neither the strictest nor the last threshold tried is returned when all of them fail."""
    bad = SliceSums(pairs=4000, coverage_pairs=((50, 2000), (99, 2000)), coverage_disagreements=((99, 500),))

    assert least_accepted(0.02, 0.05) == 149
    assert lowest_threshold(HeldOut(bad), 0.02, 0.05) is None


def test_slices_share_one_error_probability() -> None:
    """E5: in a cascade each stage spends all of delta; the lines of a certificate spend it once."""
    good = HeldOut(SliceSums(pairs=4000, coverage_pairs=((50, 2000), (99, 2000))))
    lines = certified_lines({"all": good, "area=a": good, "area=z": good}, {}, 0.02, 0.05)

    assert len(lines) == 3
    assert math.fsum(line.delta for line in lines.values()) <= 0.05 + 1e-12


def test_bounds_have_the_side_and_the_level_that_they_name() -> None:
    """E6: ppi_py's mean interval, asked for one side, returns both when it chooses its own weight."""
    both = binomtest(5, 500).proportion_ci(0.95, "exact")
    line = certified_lines(
        {"all": HeldOut(SliceSums(pairs=500, coverage_pairs=((20, 100), (99, 400))))}, {}, 0.02, 0.05
    )["all"]
    covered = binomtest(line.accepted, 500).proportion_ci(0.95, "exact")

    assert upper_bound(5, 500, 0.05) < both.high
    assert (lower_bound(5, 500, 0.025), upper_bound(5, 500, 0.025)) == pytest.approx((both.low, both.high))
    assert at_most_p_value(5, 500, upper_bound(5, 500, 0.05)) == pytest.approx(0.05)
    assert (line.coverage_low, line.coverage_high) == pytest.approx((covered.low, covered.high))


def test_the_budget_is_spent_whole() -> None:
    """E7: MAPIE's risk monitor halves its level twice. Here one false alarm in 30 days of 10 s is A = 259,200."""
    assert log_threshold(1, 30, 10) == pytest.approx(math.log(259_200), rel=1e-15)


def test_a_quiet_past_hides_nothing() -> None:
    """E7: a mean over all of the past needs 6,000 inputs to see 5 % become 10 % after 10,000 good ones; a detector
    that restarts needs no more after a long past than after a short one."""
    delays = []
    for quiet in (10, 1000):
        detector = run_of([(100, 4)] * quiet)
        ticks = [(100, 10)] * 40
        after = accumulate(ticks, counted, initial=detector)
        delays.append(next(n for n, d in enumerate(after) if d.log_wealth >= math.log(1e6)))

    assert delays[0] == delays[1] <= 15


def test_a_detector_does_not_grow() -> None:
    """E7: ticks of the past are folded together, never kept and weighed again at every update."""
    detector = new_detector(terms_for(0.05))
    for _ in range(2 * HISTORY):
        detector = update(detector, 1.0, (95, 5), 0)

    assert len(detector.ticks) <= HISTORY


def test_full_confidence_has_no_bin_of_its_own() -> None:
    """E8: torchmetrics puts 1.0 into a phantom bin beyond the last."""
    assert bin_of(1.0, 15) == 14
    assert len(reliability((1.0,), (True,), 15)) == 15
    assert SliceSums.of_pair(build_pair(student=Observation((1.0, 0.0)))).reliability_pairs == (
        (RELIABILITY_BINS - 1, 1),
    )


def test_an_edge_belongs_to_the_bin_above() -> None:
    """E9: one answer at exactly .8 decides between .1342 and .0475; ours is stated, tested, and on one side."""
    assert bin_of(0.8, 5) == 4
    assert bin_of(math.nextafter(0.8, 0), 5) == 3


@pytest.mark.parametrize("bins", [RELIABILITY_BINS, COVERAGE_EDGES])
def test_edges_are_the_same_for_one_and_for_many(bins: int) -> None:
    """E9: at each edge and beside it, arrays and single answers choose the same bin."""
    edges = [index / bins for index in range(bins + 1)]
    near = [x for edge in edges for x in (math.nextafter(edge, 0), edge, math.nextafter(edge, 1))]
    by_array = bins_of(np.array(near), bins).tolist()

    assert by_array == [bin_of(confidence, bins) for confidence in near]
    assert [confidence_bin(index / 64) for index in range(65)] == [*range(64), 63]


def test_a_rare_alarm_costs_no_more_than_a_frequent_one() -> None:
    """E10: thresholds that are simulated need more draws than the time between false alarms has observations, which
    for a false alarm in years cannot be had. Ours is a logarithm."""
    years = log_threshold(1, 3650, 1)

    assert math.exp(years) == pytest.approx(3650 * 86_400)
    assert any(
        d.log_wealth >= years for d in accumulate([(100, 60)] * 3, counted, initial=run_of([(100, 4)]))
    )


def test_population_stability_is_told_beside_its_noise() -> None:
    """E11: with 100 answers and ten bins PSI passes .1 every other time without any drift."""
    chance = np.random.default_rng(2)
    mix = [0.1] * 10
    then = chance.multinomial(5000, mix).tolist()
    windows = [chance.multinomial(100, mix).tolist() for _ in range(500)]
    found = [shift.population_stability(then, now) for now in windows]

    assert sum(value > 0.1 for value in found) > 100
    noise = shift.population_stability_noise(then, windows[0])
    assert noise == pytest.approx(9 * (1 / 5000 + 1 / 100))
    assert np.mean(found) == pytest.approx(noise, rel=0.2)


def run_of(ticks: list[tuple[int, int]]) -> Detector:
    """Against 5 %; inputs and disagreements of each tick."""
    *_, detector = accumulate(ticks, counted, initial=new_detector(terms_for(0.05)))
    return detector


def counted(detector: Detector, tick: tuple[int, int]) -> Detector:
    inputs, disagreements = tick
    return update(detector, 1.0, (inputs - disagreements, disagreements), 0)
