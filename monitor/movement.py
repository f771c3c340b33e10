"""How far one feature's counts of now lie from those of then, with a test and bounds that hold for few inputs too.

Both sides are draws, and neither is taken for the truth. The effect is the change of a share: of the inputs in one
class, or of those below one edge, whichever changed most. The test is a permutation test: it asks how often so large
a change comes of dealing the same inputs out at random, which is exact at any size. The bounds hold for every class
or edge at once, so that picking the one that changed most spoils nothing.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from monitor.histograms import Floats, Ints
from monitor.intervals import difference_bounds

DEALS = 1999  # at random, beside the one that was seen: no p-value is below 1 / 2000
SEED = 20_260_214  # the same counts give the same p-value whenever somebody asks

Counts = Sequence[int]


@dataclass(frozen=True, slots=True)
class Movement:
    """The greatest change of a share. `place` is the class, or the last bin below the edge."""

    place: int
    share_then: float
    share_now: float
    least: float  # the true change is at least this large ...
    most: float  # ... and at most this, in that direction
    p_value: float
    then: int  # inputs
    now: int

    @property
    def change(self) -> float:
        return self.share_now - self.share_then


def step_between(then: Counts, now: Counts, alpha: float) -> Movement | None:
    """Of ordered bins: the greatest change of the share below an edge (Kolmogorov-Smirnov).

    Bounds by Dvoretzky, Kiefer, Wolfowitz and Massart for each side; they miss with probability at most alpha.
    None where a side is empty.
    """
    if sum(then) <= 0 or sum(now) <= 0:
        return None
    before, after = np.cumsum(_shares(then)), np.cumsum(_shares(now))
    place = int(np.argmax(np.abs(after - before)))
    noise = sum(math.sqrt(math.log(4 / alpha) / (2 * side)) for side in (sum(then), sum(now)))
    change = abs(float(after[place] - before[place]))
    p_value = _p_value(then, now, ordered=True)
    return Movement(
        place,
        float(before[place]),
        float(after[place]),
        max(0.0, change - noise),
        min(1.0, change + noise),
        p_value,
        sum(then),
        sum(now),
    )


def change_between(then: Counts, now: Counts, alpha: float) -> Movement | None:
    """Of classes: the greatest change of one class's share, with exact bounds shared out over the classes."""
    if sum(then) <= 0 or sum(now) <= 0:
        return None
    before, after = _shares(then), _shares(now)
    place = int(np.argmax(np.abs(after - before)))
    one_class = alpha / len(then)
    low, high = difference_bounds(then[place], sum(then), now[place], sum(now), one_class)
    if after[place] < before[place]:
        low, high = -high, -low
    p_value = _p_value(then, now, ordered=False)
    return Movement(
        place,
        float(before[place]),
        float(after[place]),
        max(0.0, low),
        high,
        p_value,
        sum(then),
        sum(now),
    )


def _p_value(then: Counts, now: Counts, ordered: bool) -> float:
    """Share of deals, the one that was seen among them, whose greatest change is as large."""
    both: Ints = np.array([then, now], dtype=np.int64)
    both = both[:, both.any(axis=0)]
    pooled, drawn = both.sum(axis=0), int(both[1].sum())
    dealt = np.random.default_rng(SEED).multivariate_hypergeometric(
        pooled, drawn, size=DEALS, method="marginals"
    )
    seen = _greatest(both[1:], pooled, ordered)[0]
    as_large = int((_greatest(dealt, pooled, ordered) >= seen * (1 - 1e-12)).sum())
    return (1 + as_large) / (1 + DEALS)


def _greatest(now: Ints, pooled: Ints, ordered: bool) -> Floats:
    """By row, the greatest change of a share when the rest of the pooled counts is then."""
    after, before = now / now.sum(axis=1, keepdims=True), pooled - now
    changes = after - before / before.sum(axis=1, keepdims=True)
    found: Floats = np.abs(np.cumsum(changes, axis=1) if ordered else changes).max(axis=1)
    return found


def _shares(counts: Counts) -> Floats:
    found: Floats = np.array(counts, dtype=np.float64) / sum(counts)
    return found
