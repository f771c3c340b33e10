"""Exact bounds and tests for counts: of one share, or of two students on the same inputs."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from scipy.special import betainc, betaincinv  # not scipy.stats, which takes a second to import

INTERVAL_ALPHA = 0.05  # of every interval that people are shown: 95 %
_MEAN_BETS = np.geomspace(0.02, 0.95, 8)  # of what a loss of 1 would cost


@dataclass(frozen=True, slots=True)
class BoundedShare:
    """A share with bounds that hold at every look at once; None where counts do not make a share."""

    part: float  # counts; effective ones of weighted labels need not be whole
    whole: float
    value: float | None
    low: float | None
    high: float | None


def bounded_share(part: float, whole: float, alpha: float = INTERVAL_ALPHA) -> BoundedShare:
    """From the Beta(1/2, 1/2) mixture."""
    if whole <= 0 or not 0 <= part <= whole:  # a label of an earlier release was taken back
        return BoundedShare(part, whole, None, None, None)
    return BoundedShare(part, whole, part / whole, *confidence_sequence(part, whole, alpha))


def weighted_share(part: float, whole: float, worth: float, alpha: float = INTERVAL_ALPHA) -> BoundedShare:
    """The same of weights, of which each is worth so many equally weighted counts: an approximation."""
    return (
        bounded_share(part, whole, alpha) if worth == 1 else bounded_share(part * worth, whole * worth, alpha)
    )


def lower_bound(successes: int, trials: int, alpha: float) -> float:
    """Clopper-Pearson: the true share is below this with probability at most alpha. 0 without trials."""
    if successes <= 0 or trials <= 0:
        return 0.0
    return float(betaincinv(successes, trials - successes + 1, alpha))


def upper_bound(successes: int, trials: int, alpha: float) -> float:
    """Clopper-Pearson: the true share is above this with probability at most alpha. 1 without trials."""
    if successes >= trials:
        return 1.0
    return float(betaincinv(successes + 1, trials - successes, 1 - alpha))


def at_most_p_value(successes: int, trials: int, share: float) -> float:
    """P(Binomial(trials, share) <= successes), from whole counts."""
    if successes >= trials:
        return 1.0
    return float(betainc(trials - successes, successes + 1, 1 - share)) if successes >= 0 else 0.0


def at_least_p_value(successes: int, trials: int, share: float) -> float:
    """P(Binomial(trials, share) >= successes)."""
    if successes <= 0:
        return 1.0
    return float(betainc(successes, trials - successes + 1, share)) if successes <= trials else 0.0


def mean_upper_bound(counts: Sequence[int], losses: Sequence[float], alpha: float) -> float:
    """Of a mean loss in [0, 1]: the true one is above this with probability at most alpha. 1 without losses.

    By betting that the mean is lower (Waudby-Smith and Ramdas 2023), with bets that are fixed beforehand: then the
    order of the losses does not matter, and their counts suffice. It adapts to their variance, unlike Hoeffding's.
    """
    if not sum(counts):
        return 1.0
    shares, weights = np.array(losses), np.array(counts)

    def refuted(mean: float) -> bool:
        gains = np.log1p(_MEAN_BETS[:, None] * (mean - shares) / (1 - mean)) @ weights
        return float(np.logaddexp.reduce(gains)) - math.log(len(gains)) >= -math.log(alpha)

    return _bisect(refuted, float(shares @ weights / weights.sum()), 1 - 1e-9)


def holm(p_values: Sequence[float], alpha: float) -> list[bool]:
    """Which hypotheses are rejected, in the order given; any false rejection has probability <= alpha."""
    rejected = [False] * len(p_values)
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        if not p_values[index] <= alpha / (len(p_values) - rank):
            break
        rejected[index] = True
    return rejected


def difference_bounds(
    successes: int, trials: int, successes_now: int, trials_now: int, alpha: float
) -> tuple[float, float]:
    """Bounds on how much the second share lies above the first, from exact bounds on both, alpha / 4 each."""
    low, high = (bound(successes, trials, alpha / 4) for bound in (lower_bound, upper_bound))
    low_now, high_now = (bound(successes_now, trials_now, alpha / 4) for bound in (lower_bound, upper_bound))
    return low_now - high, high_now - low


def more_often_p_value(successes: int, trials: int, successes_now: int, trials_now: int) -> float:
    """Fisher's exact test, one-sided: how often as many of all successes fall to the second side by chance."""
    every, hits = trials + trials_now, successes + successes_now
    most = min(hits, trials_now)
    logs = [
        _log_choose(trials_now, count) + _log_choose(trials, hits - count) - _log_choose(every, hits)
        for count in range(successes_now, most + 1)
        if hits - count <= trials
    ]
    return min(1.0, math.fsum(map(math.exp, logs)))


def paired_p_value(losses: int, gains: int) -> float:
    """One-sided exact McNemar (sign) test that the second of two students is no worse than the first.

    `losses` counts inputs where only the first was right, `gains` where only the second was.
    """
    return at_least_p_value(losses, losses + gains, 0.5) if losses + gains else 1.0


def paired_loss_upper_bound(losses: int, gains: int, inputs: int, alpha: float) -> float:
    """Upper score bound (Tango 1998) on how much lower the second student's share is than the first's.

    The loss is estimated as (losses - gains) / inputs. Coverage is approximate, and close to nominal from
    about 30 inputs on; the exact bound below is wider. 1 without inputs.
    """
    if inputs <= 0:
        return 1.0
    critical = NormalDist().inv_cdf(1 - alpha)
    return _bisect(
        lambda loss: _tango_score(losses, gains, inputs, loss) < -critical,
        (losses - gains) / inputs,
        1.0,
    )


def paired_loss_upper_bound_exact(losses: int, gains: int, inputs: int, alpha: float) -> float:
    """The same with a guarantee at any size: exact bounds, alpha / 2 each, on the share of inputs where
    the two differ and on the losses among those."""
    differing = losses + gains
    if inputs <= 0:
        return 1.0
    tilt = 2 * upper_bound(losses, differing, alpha / 2) - 1
    bound = upper_bound if tilt > 0 else lower_bound
    return tilt * bound(differing, inputs, alpha / 2)


def paired_loss_high(losses: int, gains: int, inputs: int, alpha: float) -> float:
    """Upper bound on the same loss that holds at every look: confidence sequences, alpha / 2 each, of the share of
    inputs where the two differ and of the losses among those. 1 without inputs."""
    differing = losses + gains
    if inputs <= 0:
        return 1.0
    tilt = 2 * confidence_sequence(losses, differing, alpha / 2)[1] - 1
    least, most = confidence_sequence(differing, inputs, alpha / 2)
    return tilt * (most if tilt > 0 else least)


def confidence_sequence(successes: float, trials: float, alpha: float) -> tuple[float, float]:
    """Bounds that hold at every look at once, from the Beta(1/2, 1/2) mixture; (0, 1) without trials.

    {p : B(k + 1/2, n - k + 1/2) / B(1/2, 1/2) / (p^k (1-p)^(n-k)) < 1 / alpha}; effective counts need not be whole
    """
    if trials <= 0:
        return 0.0, 1.0
    limit = _mixture_limit(successes, trials, alpha)

    def is_outside(p: float) -> bool:
        return _log_likelihood(successes, trials, p) <= limit

    mean = successes / trials
    low = 0.0 if successes == 0 else _bisect(lambda p: not is_outside(p), 0.0, mean)
    high = 1.0 if successes == trials else _bisect(is_outside, mean, 1.0)
    return low, high


def excludes(successes: float, trials: float, share: float, alpha: float) -> bool:
    """Whether the confidence sequence leaves this share out."""
    return trials > 0 and _log_likelihood(successes, trials, share) <= _mixture_limit(
        successes, trials, alpha
    )


def _mixture_limit(successes: float, trials: float, alpha: float) -> float:
    """Log likelihood at or below which a share is left out."""
    return _log_beta(successes + 0.5, trials - successes + 0.5) - _log_beta(0.5, 0.5) + math.log(alpha)


def _log_likelihood(successes: float, trials: float, p: float) -> float:
    return _log_power(successes, p) + _log_power(trials - successes, 1 - p)


def _log_choose(of: int, some: int) -> float:
    return math.lgamma(of + 1) - math.lgamma(some + 1) - math.lgamma(of - some + 1)


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def _log_power(exponent: float, p: float) -> float:
    """log(p ** exponent), with 0 ** 0 = 1."""
    if exponent == 0:
        return 0.0
    return exponent * math.log(p) if p > 0 else -math.inf


def _bisect(holds: Callable[[float], bool], low: float, high: float) -> float:
    """Where a condition that is false at `low` becomes true on the way to `high`."""
    for _ in range(60):  # halvings of an interval of at most 2: below the spacing of floats
        middle = (low + high) / 2
        if holds(middle):
            high = middle
        else:
            low = middle
    return high


def _tango_score(losses: int, gains: int, inputs: int, loss: float) -> float:
    """Standardised difference under the hypothesis that the true loss is `loss`."""
    # maximum likelihood of the probability of a gain, given the loss: root of 2n q^2 + b q + c
    b = -losses - gains + (2 * inputs - losses + gains) * loss
    c = -gains * loss * (1 - loss)
    gain = (math.sqrt(max(0.0, b * b - 8 * inputs * c)) - b) / (4 * inputs)
    variance = inputs * (2 * gain + loss * (1 - loss))
    difference = losses - gains - inputs * loss
    if variance <= 0:
        return math.copysign(math.inf, difference) if difference else 0.0
    return difference / math.sqrt(variance)
