"""Quantiles of a histogram with bounds that hold at every look, whatever the distribution is.

The quantile of a share is at or above an edge unless more than that share lies below the edge, so the counts on both
sides of each edge bound it by the same confidence sequence that bounds a share. Precision is that of the edges.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from monitor.histograms import quantile
from monitor.intervals import INTERVAL_ALPHA, excludes
from monitor.sums import Vector, filled


@dataclass(frozen=True, slots=True)
class BoundedQuantile:
    """In the unit of the edges; None where the counts do not bound it."""

    count: int
    value: float | None
    low: float | None
    high: float | None

    def scaled(self, factor: float) -> "BoundedQuantile":
        """In another unit."""
        value, low, high = (
            None if one is None else one * factor for one in (self.value, self.low, self.high)
        )
        return BoundedQuantile(self.count, value, low, high)


def bounded_quantile(
    histogram: Vector, edges: Sequence[int], share: float, alpha: float = INTERVAL_ALPHA
) -> BoundedQuantile:
    """`edges` are the lower ends of the bins; the last bin has no upper end."""
    counts = filled(histogram, len(edges))
    total = sum(counts)
    if total <= 0:
        return BoundedQuantile(total, None, None, None)
    low, high, below = float(edges[0]), None, 0
    for edge, count in zip(edges[1:], counts, strict=False):
        below += count
        if below < share * total and excludes(below, total, share, alpha):
            low = float(edge)
        elif below > share * total and excludes(below, total, share, alpha):
            high = float(edge)
            break
    return BoundedQuantile(total, quantile(histogram, tuple(edges), share), low, high)
