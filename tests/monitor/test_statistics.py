"""Every statistic of a slice from its sums: what it says of slices whose truth is known."""

import math

import numpy as np
import orjson
import pytest

from ledger.observation import Observation
from ledger.spots import BANDS, spot_of
from monitor.calibration import ReliabilityBin, calibration_error, calibration_noise, reliability
from monitor.histograms import LATENCY_EDGES, WORD_EDGES, place, quantile
from monitor.intervals import confidence_sequence
from monitor.smoothing import smooth_calibration_error
from monitor.statistics import (
    LEAST_REFERENCE,
    references_of,
    risk_coverage,
    shifts,
    statistics_of,
)
from monitor.sums import SliceSums, merged
from monitor.temperature import BETAS, best_beta
from tests.monitor.world import A, B, build_pair


def drawn(pairs: int, temperature: float = 1.0, seed: int = 3) -> SliceSums:
    """A student whose distribution the labels are drawn from, told at another temperature."""
    chance = np.random.default_rng(seed)
    parts = []
    for _ in range(pairs):
        logits = chance.normal(size=3) * 2
        truth = np.exp(logits) / np.exp(logits).sum()
        said = np.exp(logits / temperature) / np.exp(logits / temperature).sum()
        label = int(chance.choice(3, p=truth))
        pair = build_pair(
            Observation(tuple(truth.tolist())), Observation(tuple(said.tolist())), words=label * 10
        )
        parts += [SliceSums.of_pair(pair), SliceSums.of_label(pair, label)]
    return merged(parts)


def test_a_calibrated_student_lies_below_its_noise() -> None:
    """A slice of few labels is not called miscalibrated, though its binned error is far from 0."""
    found = statistics_of(drawn(120), None, 3)["label_calibration"]

    assert found["error"] > 0.03
    assert found["error"] < found["noise"]
    assert found["temperature"] == pytest.approx(1.0, abs=0.35)


def test_an_overconfident_student_lies_above_it() -> None:
    """Told at a third of the temperature, its error is beyond noise, and the temperature is found again."""
    found = statistics_of(drawn(1500, temperature=1 / 3), None, 3)["label_calibration"]

    assert found["error"] > found["noise"]
    assert found["error_smooth"] > 0.05
    assert found["overconfidence"] > 0.05
    assert found["temperature_score"] < -0.1
    assert found["temperature"] == pytest.approx(3.0, rel=0.25)


def test_against_the_teachers_distribution_temperature_is_found_too() -> None:
    """The teacher's whole distribution is the target, not its top class."""
    assert statistics_of(drawn(300, temperature=0.5), None, 3)["calibration"]["temperature"] == pytest.approx(
        2.0, rel=0.1
    )


def test_noise_shrinks_with_answers() -> None:
    """By the square root, about."""
    few, many = (calibration_noise([ReliabilityBin(n, 0.7 * n, 0)]) for n in (50, 5000))

    assert few / many == pytest.approx(10, rel=0.3)
    assert math.isnan(calibration_noise([]))


def test_noise_is_a_quantile_of_what_calibrated_students_show() -> None:
    """One in twenty of them lies above it."""
    chance = np.random.default_rng(5)
    sure = chance.uniform(0.5, 1, 200)
    above = 0
    for _ in range(300):
        bins = reliability(sure.tolist(), (chance.uniform(size=200) < sure).tolist(), 20)
        above += calibration_error(bins) > calibration_noise(bins)

    assert above / 300 < 0.12


def test_the_kept_grid_gives_the_error_of_the_answers() -> None:
    """Fixed-point grids of 257 points against the floats that went in."""
    chance = np.random.default_rng(6)
    pairs = [build_pair(A, Observation((sure, 1 - sure))) for sure in chance.uniform(0.5, 1, 300).tolist()]
    found = statistics_of(merged(map(SliceSums.of_pair, pairs)), None, 2)["calibration"]
    residual, density = np.zeros(257), np.zeros(257)
    for pair in pairs:
        low = int(pair.student.confidence * 256)
        above = pair.student.confidence * 256 - low
        for point, share in ((low, 1 - above), (low + 1, above)):
            density[point] += share
            residual[point] += share * (pair.student.confidence - 1)

    assert found["error_smooth"] == pytest.approx(smooth_calibration_error(residual, density)[0], abs=1e-5)


def test_nothing_moved_and_everything_moved() -> None:
    """Against the same rows every shift is 0; lengths and classes that move are named by the figure they move."""
    near, far = A._replace(spot=spot_of(3, 0)), B._replace(spot=spot_of(31, BANDS - 1))
    reference = merged(SliceSums.of_pair(build_pair(A, near, words=10)) for _ in range(200))
    moved = merged(SliceSums.of_pair(build_pair(B, far, words=400)) for _ in range(200))

    still = shifts(reference, reference, 2)
    assert {figures["population_stability"] for figures in still.values()} == {0.0}
    gone = shifts(moved, reference, 2)
    assert gone["words"]["greatest_step"] == 1.0
    assert gone["teacher_classes"]["divergence_bits"] == 1.0
    assert gone["embedding_region"]["divergence_bits"] == 1.0
    assert gone["embedding_distance"]["greatest_step"] == 1.0
    untold = merged(SliceSums.of_pair(build_pair(A, A, words=10)) for _ in range(200))
    assert set(shifts(untold, reference, 2)["embedding_region"].values()) == {None}
    assert gone["student_confidence"]["earth_moved"] == pytest.approx(0.1, abs=1 / 64)


def test_a_manifest_keeps_large_slices_alone() -> None:
    """And what it keeps reads back as sums that are compared with live ones."""
    many = merged(SliceSums.of_pair(build_pair(A, A, words=10)) for _ in range(LEAST_REFERENCE))
    kept = orjson.loads(orjson.dumps(references_of({"all": many, "area=a": SliceSums.of_pair(build_pair())})))

    assert list(kept) == ["all"]
    assert shifts(many, SliceSums.from_json(kept["all"]), 2) == shifts(many, many, 2)


def test_risk_and_coverage_of_every_threshold() -> None:
    """From strict to lenient coverage grows to 1, and the last risk is the disagreement."""
    points = risk_coverage(((50, 6), (90, 4)), ((50, 3), (90, 1)))

    figures = ("threshold", "accepted", "wrong", "coverage", "risk")
    assert [tuple(point[figure] for figure in figures) for point in points] == [
        (0.5, 10, 4, 1.0, 0.4),
        (0.9, 4, 1, 0.4, 0.25),
    ]
    assert (points[1]["risk_low"], points[1]["risk_high"]) == confidence_sequence(1, 4, 0.05)
    assert (points[1]["coverage_low"], points[1]["coverage_high"]) == confidence_sequence(4, 10, 0.05)


def test_nothing_at_all_says_nothing() -> None:
    """None, not 0, and no exception."""
    found = statistics_of(SliceSums.empty(), SliceSums.empty(), 2)

    assert found["calibration"]["error_smooth"] is None
    assert found["calibration"]["temperature"] is None
    assert found["divergence"]["total_variation"] is None
    assert found["latency_seconds"]["student"]["median"] is None
    assert found["shift"]["words"]["population_stability"] is None
    orjson.dumps(found)


def test_latency_quantiles_are_within_a_bin() -> None:
    """Bins are an eighth of a doubling wide."""
    times = [1000 * (index + 1) for index in range(100)]
    sums = merged(SliceSums.of_pair(build_pair(A, A, student_latency_us=time)) for time in times)

    assert quantile(sums.student_latency, LATENCY_EDGES, 0.5) == pytest.approx(50_000, rel=0.05)
    assert quantile(sums.student_latency, LATENCY_EDGES, 0.99) == pytest.approx(99_000, rel=0.05)
    assert statistics_of(sums, None, 2)["latency_seconds"]["student"]["mean"] == pytest.approx(0.0505)


def test_edges_stand_in_order_and_hold_their_lower_end() -> None:
    """Of lengths and of latencies; what lies beyond the last edge is in the last bin."""
    for edges in (WORD_EDGES, LATENCY_EDGES):
        assert list(edges) == sorted(set(edges))
        for index, edge in enumerate(edges):
            assert place(edge, edges) == index
        assert place(2**62, edges) == len(edges) - 1


def test_the_best_beta_at_an_end_is_the_end() -> None:
    """The optimum is there or beyond; a parabola would invent a place."""
    assert best_beta([float(9 - index) for index in range(9)]) == BETAS[-1]
    assert math.isnan(best_beta([0.0] * 9))
