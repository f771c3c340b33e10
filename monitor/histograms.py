"""The fixed edges of every histogram that is kept, as whole-number arithmetic that is the same for one and many.

An edge belongs to the bin above it, and the last bin holds the largest value too. Sums of two releases are added
up, so an edge never moves: other edges need another number of monitor.sums.FORMAT.
"""

from bisect import bisect_right
from typing import TypeVar

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Whole = TypeVar("Whole", int, Ints)

UNIT = 2**32  # fixed point of sums: 1.0 is stored as this
COARSE = 2**20  # fixed point of grids and temperatures, whose sums would not fit 64 bits otherwise
SHARES = 64  # bins over [0, 1] of divergences and confidences
WORD_EDGES = tuple(sorted({0, 1, 2, 3, *(round(2 ** (step / 2)) for step in range(4, 27))}))  # to 8192
LATENCY_EDGES = (0, *(round(2 ** (step / 8)) for step in range(32, 241)))  # microseconds, 16 to 2**30


def fixed(value: float) -> int:
    """A real number as a whole multiple of 1 / UNIT."""
    return round(value * UNIT)


def share_bin(amount: Whole) -> Whole:
    """The bin of a fixed-point share, of SHARES."""
    return (amount >> 26) - (amount >> 32)


def square(amount: Whole) -> Whole:
    """The square of a fixed-point share, fixed point again, without leaving 64 bits; rounded down."""
    quarter = amount >> 2
    return quarter * quarter >> 28


def confidence_bin(confidence: float) -> int:
    """A power of two scales without an error, so the edges are exact."""
    return min(SHARES - 1, int(confidence * SHARES))


def confidence_bins(confidence: Floats) -> Ints:
    return np.minimum(SHARES - 1, (confidence * SHARES).astype(np.int64))


def place(value: int, edges: tuple[int, ...]) -> int:
    """Index of the last edge at or below a value that is not negative."""
    return max(0, bisect_right(edges, value) - 1)


def places(values: Ints, edges: tuple[int, ...]) -> Ints:
    found: Ints = np.searchsorted(np.array(edges[1:], dtype=np.int64), values, side="right").astype(np.int64)
    return found


def quantile(counts: tuple[tuple[int, int], ...], edges: tuple[int, ...], share: float) -> float:
    """Of a histogram over geometric edges: the middle of the bin that holds the quantile; nan without counts."""
    total, below = sum(count for _, count in counts), 0
    for index, count in counts:
        below += count
        if total > 0 and below >= share * total:
            high = edges[index + 1] if index + 1 < len(edges) else edges[index]
            return float((edges[index] * high) ** 0.5) if edges[index] else high / 2
    return float("nan")
