"""The statistics of the tables: percentiles, a bootstrap over blocks of windows, a slope. Pure functions."""

import math
import random
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt

Block = TypeVar("Block")
Floats = npt.NDArray[np.float64]

RESAMPLES = 2_000
CONFIDENCE = 0.95


def percentile(values: Sequence[float] | Floats, share: float) -> float:
    """The smallest value that at least `share` of the values do not exceed; infinite when there is none."""
    array = np.asarray(values, dtype=np.float64)
    if not array.size:
        return math.inf
    rank = max(0, math.ceil(share * array.size) - 1)
    return float(np.partition(array, rank)[rank])


def upper_bound(blocks: Sequence[Block], statistic: Callable[[Sequence[Block]], float]) -> float:
    """One-sided 95 % bootstrap bound of a statistic: whole blocks are drawn, so what lasts stays together."""
    draw = random.Random(20_000)
    drawn = [statistic(draw.choices(blocks, k=len(blocks))) for _ in range(RESAMPLES)]
    return percentile(drawn, CONFIDENCE)


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Least squares: units of y for one unit of x; 0 for fewer than two different x."""
    if not points:
        return 0.0
    mean_x, mean_y = (sum(axis) / len(points) for axis in zip(*points, strict=True))
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0
