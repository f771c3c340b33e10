"""The five things that a student is judged by while pairs keep coming: what is known of each, from the sums of a slice.

Every bound holds at every look at once, so a verdict may be asked for as often as anybody likes.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum

from ledger.configuration import FallbackSection, VerdictSection
from ledger.slices import SliceRule
from monitor.calibration import ReliabilityBin, calibration_error
from monitor.certificate import saved_share
from monitor.histograms import LATENCY_EDGES
from monitor.intervals import bounded_share, confidence_sequence
from monitor.label_shares import label_shares
from monitor.quantiles import bounded_quantile
from monitor.served import served_by
from monitor.sums import SliceSums
from monitor.verdict import Bar, Known, agreement_of

SLOWEST = 0.99  # the latency that counts is the one that the slowest hundredth exceeds


class Criterion(StrEnum):
    """What is judged, each by itself; no number stands for two of them."""

    FIDELITY = "fidelity"  # agreement with the teacher
    ACCURACY = "accuracy"  # labelled pairs where the teacher alone is right
    CALIBRATION = "calibration"  # calibration error against the teacher
    LATENCY = "latency"  # of the student's slowest hundredth
    COST = "cost"  # share of the teacher's cost that is saved where the certificate holds


SETTINGS: Mapping[Criterion, str] = {
    Criterion.FIDELITY: "bar",
    Criterion.ACCURACY: "verdict.max_regret",
    Criterion.CALIBRATION: "verdict.max_calibration_error",
    Criterion.LATENCY: "verdict.max_latency_seconds",
    Criterion.COST: "verdict.min_saved",
}


def bars_of(fidelity: float | None, section: VerdictSection) -> dict[Criterion, Bar | None]:
    """None is not judged."""
    at = {
        Criterion.FIDELITY: fidelity,
        Criterion.ACCURACY: section.max_regret,
        Criterion.CALIBRATION: section.max_calibration_error,
        Criterion.LATENCY: section.max_latency_seconds,
        Criterion.COST: section.min_saved,
    }
    least = (Criterion.FIDELITY, Criterion.COST)
    return {name: None if bar is None else Bar(bar, name in least) for name, bar in at.items()}


def fidelity(sums: SliceSums, alpha: float) -> Known:
    share = bounded_share(sums.agreements, sums.pairs, alpha)
    return agreement_of(sums.pairs, sums.agreements, share.low, share.high)


def accuracy(sums: SliceSums, alpha: float) -> Known:
    """What serving the student costs in right answers; gains where it alone is right are not set against it.

    Labels are weighted, and the bounds count them by their effective number.
    """
    share, labelled = label_shares(sums, alpha).regret, sums.labelled
    counts = f"the teacher alone is right on {sums.teacher_alone_right} of {labelled} labelled pairs"
    if round(sums.effective_labels) < labelled:
        counts += f", which weigh as much as {sums.effective_labels:.0f} equal ones"
    return Known(counts, labelled, share.value, share.low, share.high)


def calibration(sums: SliceSums, alpha: float) -> Known:
    bins = sums.reliability
    low, high = calibration_bounds(bins, alpha)
    answers = sum(count for _, count in sums.reliability_pairs)
    value = calibration_error(bins) if answers else None
    return Known(f"calibration error over {answers} pairs", answers, value, low, high)


def calibration_bounds(bins: Sequence[ReliabilityBin], alpha: float) -> tuple[float | None, float | None]:
    """Of the error with each bin's true share in place of the counted one; alpha is divided over all bins.

    They hold at every look, for confidences as they came and a share that does not change within a bin.
    """
    total = sum(b.count for b in bins)
    if not total:
        return None, None
    low = high = 0.0
    for b in bins:
        if b.count:
            mean = b.confidence / b.count
            least, most = confidence_sequence(b.right, b.count, alpha / len(bins))
            low += b.count * max(0.0, least - mean, mean - most)
            high += b.count * max(abs(mean - least), abs(mean - most))
    return low / total, high / total


def latency(sums: SliceSums, alpha: float) -> Known:
    found = bounded_quantile(sums.student_latency, LATENCY_EDGES, SLOWEST, alpha).scaled(1e-6)
    counts = f"{SLOWEST:.0%} of {found.count} answers came within"
    return Known(counts, found.count, found.value, found.low, found.high, " s")


def cost(
    sums_by_slice: Mapping[str, SliceSums],
    rules: Sequence[SliceRule],
    thresholds: Mapping[str, float],
    fallback: FallbackSection,
    alpha: float,
) -> Known:
    """Of all traffic, with every threshold that holds now; nothing is saved without any."""
    coverage = served_by(sums_by_slice, rules, thresholds, alpha).coverage
    value, low, high = (
        None if one is None else saved_share(one, fallback.student_cost, fallback.audit_share)
        for one in (coverage.value, coverage.low, coverage.high)
    )
    least, most = coverage.part_low, coverage.part_high
    served = f"{least}" if least == most else f"{least} to {most}"
    counts = f"{served} of {coverage.whole_low} pairs would be served, saving"
    return Known(counts, coverage.whole_low, value, low, high)
