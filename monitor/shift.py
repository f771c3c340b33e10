"""How far counts of now lie from counts of then: both are draws, and both draws are noisy.

Every measure takes two lists of counts over the same bins. nan where either side is empty.
"""

import math
from collections.abc import Sequence

from scipy.special import chdtrc  # not scipy.stats, which takes a second to import

from monitor.divergence import jensen_shannon_bits, normalised

Counts = Sequence[int]


def population_stability(then: Counts, now: Counts) -> float:
    """PSI in nats. Where a bin is empty on one side, every bin in use gets half a count more on both."""
    used = _used(then, now)
    if used is None:
        return math.nan
    more = 0.5 if any(a == 0 or b == 0 for a, b in used) else 0.0
    p, q = (normalised([side + more for side in column]) for column in zip(*used, strict=True))
    return math.fsum((b - a) * math.log(b / a) for a, b in zip(p, q, strict=True))


def population_stability_noise(then: Counts, now: Counts) -> float:
    """What PSI is on average when nothing changed: (bins - 1)(1 / n then + 1 / n now)."""
    used = _used(then, now)
    return math.nan if used is None else (len(used) - 1) * (1 / sum(then) + 1 / sum(now))


def chi_square_p_value(then: Counts, now: Counts) -> float:
    """Of the two-sample test: the counts of then are a draw as well, not the truth."""
    used = _used(then, now)
    if used is None:
        return math.nan
    sides = (sum(then), sum(now))
    total = sum(sides)
    statistic = math.fsum(
        (count - side * sum(both) / total) ** 2 / (side * sum(both) / total)
        for both in used
        for count, side in zip(both, sides, strict=True)
    )
    return float(chdtrc(len(used) - 1, statistic)) if len(used) > 1 else 1.0


def greatest_step(then: Counts, now: Counts) -> float:
    """Kolmogorov-Smirnov statistic of the binned values, in [0, 1]: at most that of the values themselves."""
    return max(map(abs, _steps(then, now)), default=math.nan)


def earth_moved(then: Counts, now: Counts, width: float) -> float:
    """Wasserstein-1 distance of values in bins of this width, each taken as the middle of its bin."""
    steps = _steps(then, now)
    return width * math.fsum(map(abs, steps)) if steps else math.nan


def divergence_bits(then: Counts, now: Counts) -> float:
    """Jensen-Shannon divergence of the two mixes (not its root, the distance), base 2."""
    used = _used(then, now)
    return math.nan if used is None else jensen_shannon_bits(*map(normalised, zip(*used, strict=True)))


def _used(then: Counts, now: Counts) -> list[tuple[int, int]] | None:
    """The bins that either side uses; None when a side is empty."""
    if sum(then) <= 0 or sum(now) <= 0:
        return None
    return [(a, b) for a, b in zip(then, now, strict=True) if a or b]


def _steps(then: Counts, now: Counts) -> list[float]:
    """Differences of the two distribution functions after each bin."""
    all_then, all_now = sum(then), sum(now)
    if all_then <= 0 or all_now <= 0:
        return []
    found, a, b = [], 0, 0
    for of_then, of_now in zip(then, now, strict=True):
        a, b = a + of_then, b + of_now
        found.append(b / all_now - a / all_then)
    return found
