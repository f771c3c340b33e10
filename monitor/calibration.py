"""Calibration error from binned sums: how far confidence lies from how often the student was right.

A bin holds its lower edge and not its upper one, and the last bin holds 1.0 too.
"""

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from monitor.histograms import Floats, Ints

DRAWS = 400  # of the consistency resampling


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """Sums over the answers whose confidence fell into one bin; of weights, where answers are weighted."""

    count: float
    confidence: float  # sum
    right: float
    effective: float | None = None  # as many equally weighted answers say as much; None: `count`

    @property
    def gap(self) -> float:
        """Mean confidence minus the share that was right: above 0 is overconfident."""
        return (self.confidence - self.right) / self.count

    @property
    def size(self) -> float:
        """What noise is reckoned with."""
        return self.count if self.effective is None else self.effective


@cache
def edges(bins: int) -> tuple[float, ...]:
    """Lower edges of equally wide bins over [0, 1]."""
    return tuple(index / bins for index in range(bins))


def bin_of(confidence: float, bins: int) -> int:
    """The bin that holds a confidence. Compares with the edges themselves: 0.29 * 100 falls below 29."""
    return max(0, bisect_right(edges(bins), confidence) - 1)


def bins_of(confidences: Floats, bins: int) -> Ints:
    """bin_of, for many."""
    found: Ints = np.searchsorted(np.array(edges(bins))[1:], confidences, side="right")
    return found


def reliability(confidences: Sequence[float], right: Sequence[bool], bins: int) -> list[ReliabilityBin]:
    """Bin single answers, for callers that hold them all."""
    members: list[list[tuple[float, bool]]] = [[] for _ in range(bins)]
    for confidence, hit in zip(confidences, right, strict=True):
        members[bin_of(confidence, bins)].append((confidence, hit))
    return [ReliabilityBin(len(m), math.fsum(c for c, _ in m), sum(h for _, h in m)) for m in members]


def calibration_error(bins: Sequence[ReliabilityBin]) -> float:
    """Expected calibration error: mean absolute gap, weighted by count; nan without answers."""
    return _weighted(bins, lambda b: abs(b.gap))


def squared_calibration_error(bins: Sequence[ReliabilityBin]) -> float:
    """Root of the mean squared gap. Biased upwards where bins are small; nan without answers."""
    return math.sqrt(_weighted(bins, lambda b: b.gap**2))


def debiased_calibration_error(bins: Sequence[ReliabilityBin]) -> float:
    """The same with each bin's own noise taken off (Kumar, Liang and Ma 2019); nan without answers.

    A bin with a single answer tells nothing about its noise and counts as 0. Weighted answers count as many as
    their effective number, the usual approximation.
    """
    square = _weighted(bins, _debiased_square)
    return square if math.isnan(square) else math.sqrt(max(0.0, square))


def greatest_gap(bins: Sequence[ReliabilityBin]) -> float:
    """Maximum calibration error: the largest absolute gap of a bin; nan without answers."""
    return max((abs(b.gap) for b in bins if b.count), default=math.nan)


def signed_gap(bins: Sequence[ReliabilityBin]) -> float:
    """Mean confidence minus the share that was right; nan without answers."""
    return _weighted(bins, lambda b: b.gap)


def calibration_noise(bins: Sequence[ReliabilityBin], share: float = 0.95) -> float:
    """The calibration error that a perfectly calibrated student stays below with this probability.

    Answers are drawn anew as right with the mean confidence of their bin (consistency resampling, Vaicenavicius et
    al. 2019). An error below it says nothing: few answers alone explain it. nan without answers.
    """
    used = [b for b in bins if b.count > 0]
    if not used:
        return math.nan
    sizes = np.array([max(1, round(b.size)) for b in used])
    shares = np.array([b.count for b in used]) / sum(b.count for b in used)
    confidence = np.clip([b.confidence / b.count for b in used], 0.0, 1.0)
    drawn = np.random.default_rng(0).binomial(sizes, confidence, (DRAWS, len(used)))  # the same at every look
    errors = (np.abs(drawn / sizes - confidence) * shares).sum(axis=1)
    return float(np.quantile(errors, share))


def _debiased_square(b: ReliabilityBin) -> float:
    if b.size < 2:
        return 0.0
    share = b.right / b.count
    return b.gap**2 - share * (1 - share) / (b.size - 1)


def _weighted(bins: Sequence[ReliabilityBin], value: Callable[[ReliabilityBin], float]) -> float:
    """Mean over the answers; nan without any."""
    total = sum(b.count for b in bins)
    return math.fsum(b.count * value(b) for b in bins if b.count) / total if total else math.nan
