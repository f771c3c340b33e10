"""Reliability bins and risk-coverage curves of a slice, as the points that are drawn."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from monitor.calibration import ReliabilityBin
from monitor.intervals import at_most_p_value
from monitor.statistics import risk_coverage
from monitor.sums import SliceSums

BAND_LEVEL = 0.9  # of the consistency band, bin by bin


@dataclass(frozen=True, slots=True)
class BinPoint:
    """One confidence bin; the band holds the right share of a calibrated student in BAND_LEVEL of cases."""

    low: float  # lower edge of the bin
    high: float
    count: int  # of weighted answers, their effective number
    mean_confidence: float
    right_share: float
    band_low: float
    band_high: float


@dataclass(frozen=True, slots=True)
class RiskPoint:
    """What would be served from one confidence on."""

    threshold: float
    accepted: int
    disagreements: int
    coverage_share: float  # of the pairs
    coverage_low_share: float  # 95 %, at every look, as are the next bounds
    coverage_high_share: float
    risk_share: float  # of the accepted that disagree with the teacher
    risk_low_share: float
    risk_high_share: float


@dataclass(frozen=True, slots=True)
class SliceCurves:
    """What is drawn of one slice."""

    slice: str
    pairs: int
    labelled: int
    reliability: tuple[BinPoint, ...]  # against the teacher
    label_reliability: tuple[BinPoint, ...]
    risk_coverage: tuple[RiskPoint, ...]  # from the strictest threshold that accepts anything to 0
    threshold: float | None  # certified
    max_disagreement: float | None


def slice_curves(
    name: str, sums: SliceSums, threshold: float | None, max_disagreement: float | None
) -> SliceCurves:
    return SliceCurves(
        slice=name,
        pairs=sums.pairs,
        labelled=sums.labelled,
        reliability=tuple(_points(sums.reliability)),
        label_reliability=tuple(_points(sums.label_reliability)),
        risk_coverage=tuple(_risk(sums)),
        threshold=threshold,
        max_disagreement=max_disagreement,
    )


def _points(bins: Sequence[ReliabilityBin]) -> Iterator[BinPoint]:
    """The bins that hold anything."""
    for index, one in enumerate(bins):
        if one.count > 0:
            mean = min(1.0, max(0.0, one.confidence / one.count))
            size = max(1, round(one.size))
            low, high = consistency_band(size, mean)
            yield BinPoint(
                low=index / len(bins),
                high=(index + 1) / len(bins),
                count=size,
                mean_confidence=mean,
                right_share=one.right / one.count,
                band_low=low / size,
                band_high=high / size,
            )


def consistency_band(count: int, confidence: float) -> tuple[int, int]:
    """How many of so many answers a calibrated student gets right: quantiles of Binomial(count, confidence).

    Vaicenavicius et al. 2019 resample for the same.
    """
    tail = (1 - BAND_LEVEL) / 2
    return _quantile(count, confidence, tail), _quantile(count, confidence, 1 - tail)


def _quantile(trials: int, share: float, level: float) -> int:
    """The least count k with P(Binomial <= k) >= level."""
    low, high = 0, trials
    while low < high:
        middle = (low + high) // 2
        if at_most_p_value(middle, trials, share) >= level:
            high = middle
        else:
            low = middle + 1
    return low


def _risk(sums: SliceSums) -> Iterator[RiskPoint]:
    for point in reversed(risk_coverage(sums.coverage_pairs, sums.coverage_disagreements)):
        yield RiskPoint(
            threshold=point["threshold"],
            accepted=point["accepted"],
            disagreements=point["wrong"],
            coverage_share=point["coverage"],
            coverage_low_share=point["coverage_low"],
            coverage_high_share=point["coverage_high"],
            risk_share=point["risk"],
            risk_low_share=point["risk_low"],
            risk_high_share=point["risk_high"],
        )
