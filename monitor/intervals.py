"""Exact bounds and tests for counts: of one share, or of two students on the same inputs."""

import math
from collections.abc import Callable, Sequence
from statistics import NormalDist

import numpy as np
from scipy.special import betainc, betaincinv  # not scipy.stats, which takes a second to import

_MEAN_BETS = np.geomspace(0.02, 0.95, 8)  # of what a loss of 1 would cost


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


def confidence_sequence(successes: float, trials: float, alpha: float) -> tuple[float, float]:
    """Bounds that hold at every look at once, from the Beta(1/2, 1/2) mixture; (0, 1) without trials.

    {p : B(k + 1/2, n - k + 1/2) / B(1/2, 1/2) / (p^k (1-p)^(n-k)) < 1 / alpha}; effective counts need not be whole
    """
    if trials <= 0:
        return 0.0, 1.0
    failures = max(0.0, trials - successes)
    limit = _log_beta(successes + 0.5, failures + 0.5) - _log_beta(0.5, 0.5) + math.log(alpha)

    def excluded(p: float) -> bool:
        return _log_power(successes, p) + _log_power(failures, 1 - p) <= limit

    mean = min(1.0, successes / trials)
    low = 0.0 if successes == 0 else _bisect(lambda p: not excluded(p), 0.0, mean)
    high = 1.0 if failures == 0 else _bisect(excluded, mean, 1.0)
    return low, high


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
