"""Bounds of the gate beside those of single shares: differences, quantiles, calibration, rows that prove a bar."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc, ndtri

from monitor.intervals import at_least_p_value

BINS = 15  # of equally many answers each: the adaptive form of the calibration error
DRAWS = 500  # of the bootstrap
MOST_ROWS = 20_000  # beyond which nobody is told to collect

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


def wilson(successes: int, trials: int, alpha: float) -> tuple[float, float]:
    """Score interval of a share, two-sided at alpha (Wilson 1927)."""
    if not trials:
        return 0.0, 1.0
    z = float(ndtri(1 - alpha / 2))
    share, spread = successes / trials, z * z / trials
    middle = (share + spread / 2) / (1 + spread)
    half = z / (1 + spread) * math.sqrt(share * (1 - share) / trials + spread / trials / 4)
    return max(0.0, middle - half), min(1.0, middle + half)


def newcombe(successes: int, trials: int, others: int, of: int, alpha: float) -> tuple[float, float]:
    """How much the second share lies above the first, two-sided at alpha: method 10 of Newcombe (1998)."""
    share, other = successes / max(1, trials), others / max(1, of)
    low, high = wilson(successes, trials, alpha)
    other_low, other_high = wilson(others, of, alpha)
    gap = other - share
    return (
        gap - math.hypot(other - other_low, high - share),
        gap + math.hypot(other_high - other, share - low),
    )


def quantile_upper(values: Sequence[float], quantile: float, alpha: float) -> float:
    """Bound that the true quantile exceeds with probability at most alpha, whatever the distribution.

    The least order statistic k with P(Binomial(n, quantile) >= k) <= alpha; inf where n is too small (59 for .95).
    """
    ordered, count = sorted(values), len(values)
    for place in range(1, count + 1):
        if at_least_p_value(place, count, quantile) <= alpha:
            return ordered[place - 1]
    return math.inf


def adaptive_error(confidence: Floats, right: Bools) -> float:
    """Expected calibration error over BINS bins of equally many answers; nan without answers."""
    return float(_errors(_gaps(confidence, right)[None, :])[0]) if len(confidence) else math.nan


def adaptive_errors_drawn(confidence: Floats, right: Bools, draw: np.random.Generator) -> Floats:
    """The same of DRAWS sets of as many answers, drawn from these with replacement."""
    gaps = _gaps(confidence, right)
    # in the order of confidence, so that sorted places are sorted answers
    return _errors(gaps[np.sort(draw.integers(0, len(gaps), (DRAWS, len(gaps))), axis=1)])


def _gaps(confidence: Floats, right: Bools) -> Floats:
    """Confidence minus hit of each answer, the least confident first."""
    order = np.argsort(confidence, kind="stable")
    gaps: Floats = confidence[order] - right[order]
    return gaps


def _errors(gaps: Floats) -> Floats:
    """Of each row of gaps."""
    count = gaps.shape[1]
    edges = np.linspace(0, count, min(BINS, count) + 1).astype(int)
    errors: Floats = np.abs(np.add.reduceat(gaps, edges[:-1], axis=1)).sum(axis=1) / count
    return errors


def adaptive_error_interval(confidence: Floats, right: Bools, alpha: float) -> tuple[float, float, float]:
    """The error without its noise, with one-sided bounds at alpha each: basic bootstrap (Davison and Hinkley 1997).

    Few answers alone make the error larger than 0, and drawing them anew makes it larger once more by as much: that
    is taken off again. The bounds are taken at alpha / 2, since at alpha the upper one lay below the true error in
    up to a tenth of simulations instead of a twentieth (300 to 1,000 answers). (0, 0, 1) without answers.
    """
    if not len(confidence):
        return 0.0, 0.0, 1.0
    found = adaptive_error(confidence, right)
    errors = adaptive_errors_drawn(confidence, right, np.random.default_rng(0))  # the same at every look
    low, high = (2 * found - float(np.quantile(errors, level)) for level in (1 - alpha / 2, alpha / 2))
    value = max(0.0, 2 * found - float(errors.mean()))
    return value, min(value, max(0.0, low)), max(value, high)


def rows_to_prove(bar: float, share: float, alpha: float, power: float = 0.8) -> int | None:
    """The least number of rows from which on a slice of this true share proves the bar with this power.

    None where none suffice, or more than MOST_ROWS. Power goes up in a saw: a row more can lower it a little.
    """
    if share <= bar:
        return None
    least = math.ceil(math.log(alpha) / math.log(bar))  # of rows that all agree
    sizes = np.arange(least, MOST_ROWS + 1)
    needed = np.zeros(len(sizes), dtype=np.int64)
    above = sizes + 1
    while (open_ := above - needed > 1).any():  # bisection of each size's least number of agreements
        middle = (needed + above) // 2
        proves = _tail(middle, sizes, bar) <= alpha
        above = np.where(open_ & proves, middle, above)
        needed = np.where(open_ & ~proves, middle, needed)
    powers = np.where(above <= sizes, _tail(np.minimum(above, sizes), sizes, share), 0.0)
    weak = np.flatnonzero(powers < power)
    if not len(weak):
        return least
    return None if weak[-1] == len(sizes) - 1 else int(sizes[weak[-1] + 1])


def _tail(successes: NDArray[np.int64], trials: NDArray[np.int64], share: float) -> Floats:
    """P(Binomial(trials, share) >= successes), of each."""
    told: Floats = np.where(
        successes <= 0, 1.0, betainc(np.maximum(successes, 1), trials - successes + 1.0, share)
    )
    return told
