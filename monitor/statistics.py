"""Every statistic of one slice in plain numbers, divided only now; docs/statistics.md has a line for each.

None stands where there was nothing to divide by.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ledger.spots import BANDS, REGIONS
from monitor import shift
from monitor.calibration import (
    ReliabilityBin,
    calibration_error,
    calibration_noise,
    debiased_calibration_error,
    greatest_gap,
    signed_gap,
    squared_calibration_error,
)
from monitor.histograms import COARSE, LATENCY_EDGES, SHARES, UNIT, WORD_EDGES
from monitor.intervals import BoundedShare, bounded_share, weighted_share
from monitor.label_shares import label_shares
from monitor.quantiles import bounded_quantile
from monitor.smoothing import POINTS, smooth_calibration_error
from monitor.sums import COVERAGE_EDGES, FORMAT, SliceSums, Vector, filled, raised_by_place
from monitor.temperature import BETAS, best_beta

REFERENCE_FIELDS = (
    "pairs",
    "student_confidence",
    "teacher_confidence",
    "teacher_classes",
    "student_classes",
    "words",
    "regions",
    "bands",
    "total_variation_histogram",
    "divergence_histogram",
)
LATENCIES: Mapping[str, float] = {"median": 0.5, "p95": 0.95, "p99": 0.99}
LEAST_REFERENCE = 100  # pairs; below, every shift drowns in the reference's own noise


def statistics_of(sums: SliceSums, reference: SliceSums | None, classes: int) -> dict[str, Any]:
    """By name; what compares with the student's own reference is None without one."""
    return {
        "pairs": sums.pairs,
        "measured": sums.measured,
        **_bounded("fidelity", bounded_share(sums.agreements, sums.pairs)),
        "divergence": _divergence(sums),
        "calibration": _calibration(
            sums.reliability, sums.smooth_density, sums.smooth_residual, sums.tempered_nats
        ),
        "label_calibration": _calibration(
            sums.label_reliability,
            sums.label_smooth_density,
            sums.label_smooth_residual,
            sums.label_tempered_nats,
        ),
        "labels": _labels(sums),
        "shift": None if reference is None else shifts(sums, reference, classes),
        "risk_coverage": risk_coverage(sums.coverage_pairs, sums.coverage_disagreements),
        "label_risk_coverage": risk_coverage(
            sums.label_coverage_pairs,
            sums.label_coverage_errors,
            sums.label_coverage_pairs_excess,
            sums.label_coverage_errors_excess,
            sums.label_worth,
        ),
        "latency_seconds": {
            "student": _latency(sums.student_latency, sums.student_latency_us),
            "teacher": _latency(sums.teacher_latency, sums.teacher_latency_us),
        },
    }


def shifts(sums: SliceSums, reference: SliceSums, classes: int) -> dict[str, dict[str, float | None]]:
    """How far confidences, classes, lengths and embeddings of now lie from those of the student's held-out rows."""
    wide = 1 / SHARES
    return {
        "student_confidence": _shift(sums.student_confidence, reference.student_confidence, SHARES, wide),
        "teacher_confidence": _shift(sums.teacher_confidence, reference.teacher_confidence, SHARES, wide),
        "student_classes": _shift(sums.student_classes, reference.student_classes, classes),
        "teacher_classes": _shift(sums.teacher_classes, reference.teacher_classes, classes),
        "words": _shift(sums.words, reference.words, len(WORD_EDGES)),
        "embedding_region": _shift(sums.regions, reference.regions, REGIONS),
        "embedding_distance": _shift(sums.bands, reference.bands, BANDS),
    }


def references_of(sums_by_slice: Mapping[str, SliceSums]) -> dict[str, dict[str, Any]]:
    """What a student's manifest keeps of the rows that judged it: slices that are large enough to compare with."""
    return {
        name: {"format": FORMAT}
        | {field: value for field in REFERENCE_FIELDS if (value := getattr(sums, field))}
        for name, sums in sums_by_slice.items()
        if sums.pairs >= LEAST_REFERENCE
    }


def reference_in(kept: Mapping[str, Mapping[str, Any]], slice_name: str) -> SliceSums | None:
    """Of one slice in a manifest's reference; None where it keeps none, or in a format of another release."""
    document = kept.get(slice_name)
    return SliceSums.from_json(document) if document and document.get("format") == FORMAT else None


def risk_coverage(
    accepted: Vector,
    wrong: Vector,
    accepted_excess: Vector = (),
    wrong_excess: Vector = (),
    worth: float = 1.0,
) -> list[dict[str, Any]]:
    """For each threshold that accepts fewer than the one below it: share accepted, share of those wrong.

    Bounds hold at every look. Shares are of weights, of which 1 is `worth` so many equally weighted labels.
    """
    pairs = raised_by_place(accepted, accepted_excess, COVERAGE_EDGES)
    errors = raised_by_place(wrong, wrong_excess, COVERAGE_EDGES)
    total, points = sum(pairs), []
    taken = failed = 0.0 if accepted_excess else 0
    for index in reversed(range(COVERAGE_EDGES)):
        if pairs[index]:
            taken, failed = taken + pairs[index], failed + errors[index]
            coverage, risk = (weighted_share(*of, worth) for of in ((taken, total), (failed, taken)))
            points.append(
                {
                    "threshold": index / COVERAGE_EDGES,
                    "accepted": taken,
                    "wrong": failed,
                    **_bounded("coverage", coverage),
                    **_bounded("risk", risk),
                }
            )
    return points[::-1]


def _divergence(sums: SliceSums) -> dict[str, Any]:
    return {
        "total_variation": _number(sums.mean_total_variation),
        "total_variation_deviation": _deviation(
            sums.total_variation_squares, sums.total_variation_histogram, sums
        ),
        "total_variation_histogram": filled(sums.total_variation_histogram, SHARES),
        "divergence_bits": _number(sums.mean_divergence_bits),
        "divergence_histogram": filled(sums.divergence_histogram, SHARES),
        "kl_nats": _number(sums.mean_kl_nats),
        "kl_clipped_ratio": _share(sums.kl_clipped, sums.pairs),
        "brier": _number(sums.mean_brier),
        "nll_nats": _number(sums.mean_nll_nats),
        "teacher_other_ratio": _share(sums.teacher_other, sums.measured * UNIT),
    }


def _calibration(
    bins: Sequence[ReliabilityBin], density: Vector, residual: Vector, tempered: Vector
) -> dict[str, Any]:
    smooth, width = smooth_calibration_error(_grid(residual), _grid(density))
    losses = [loss / COARSE for loss in filled(tempered, len(BETAS) + 1)]
    answers = sum(count for _, count in density) / COARSE
    beta = best_beta(losses[:-1])
    return {
        "answers": sum(b.count for b in bins),
        "error": _number(calibration_error(bins)),
        "error_squared": _number(squared_calibration_error(bins)),
        "error_debiased": _number(debiased_calibration_error(bins)),
        "error_greatest": _number(greatest_gap(bins)),
        "error_smooth": _number(smooth),
        "smooth_width": _number(width),
        "overconfidence": _number(signed_gap(bins)),
        "noise": _number(calibration_noise(bins)),
        "temperature": _number(1 / beta),
        "temperature_score": _number(losses[-1] / answers if answers else math.nan),
        "bins": [
            {"count": b.count, "confidence": b.confidence / b.count, "right": b.right / b.count}
            if b.count
            else None
            for b in bins
        ],
    }


def _bounded(name: str, share: BoundedShare) -> dict[str, float | None]:
    return {name: share.value, f"{name}_low": share.low, f"{name}_high": share.high}


def _labels(sums: SliceSums) -> dict[str, Any]:
    weights = (
        sums.label_coverage_pairs,
        sums.label_coverage_pairs_excess,
    )  # of labels that this release folded
    scored = sum(raised_by_place(*weights, COVERAGE_EDGES))
    shares = label_shares(sums)
    return {
        "labelled": sums.labelled,
        "labelled_ratio": _share(sums.labelled, sums.pairs),
        "effective_labels": sums.effective_labels,
        **_bounded("accuracy", shares.accuracy),
        **_bounded("teacher_accuracy", shares.teacher_accuracy),
        **_bounded("student_regret", shares.regret),
        "both_right": sums.both_right,
        "student_alone_right": sums.student_alone_right,
        "teacher_alone_right": sums.teacher_alone_right,
        "both_wrong": sums.both_wrong,
        "brier": _share(sums.label_brier, scored * UNIT),
        "nll_nats": _share(sums.label_nll_nats, scored * UNIT),
    }


def _shift(now: Vector, then: Vector, bins: int, width: float | None = None) -> dict[str, float | None]:
    """Ordered bins of equal width also have an earth mover's distance."""
    before, after = filled(then, bins), filled(now, bins)
    return {
        "population_stability": _number(shift.population_stability(before, after)),
        "population_stability_noise": _number(shift.population_stability_noise(before, after)),
        "greatest_step": _number(shift.greatest_step(before, after)),
        "divergence_bits": _number(shift.divergence_bits(before, after)),
        "p_value": _number(shift.chi_square_p_value(before, after)),
        "earth_moved": None if width is None else _number(shift.earth_moved(before, after, width)),
    }


def _latency(histogram: Vector, total_us: int) -> dict[str, float | None]:
    timed = sum(count for _, count in histogram)
    told: dict[str, float | None] = {"mean": _share(total_us, timed * 1_000_000)}
    for name, share in LATENCIES.items():
        found = bounded_quantile(histogram, LATENCY_EDGES, share).scaled(1e-6)
        told |= {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}
    return told


def _deviation(squares: int, histogram: Vector, sums: SliceSums) -> float | None:
    """Standard deviation; None when an earlier release folded some of the pairs without their squares."""
    count = sum(pairs for _, pairs in histogram)
    if count != sums.pairs or not count:
        return None
    mean = sums.mean_total_variation
    return math.sqrt(max(0.0, squares / (count * UNIT) - mean * mean))


def _grid(vector: Vector) -> Any:
    return np.array(filled(vector, POINTS), dtype=np.float64) / COARSE


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _number(value: float) -> float | None:
    """nan has no JSON form."""
    return None if math.isnan(value) else value
