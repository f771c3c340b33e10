"""Whether the student is still as sure as it should be: its likelihood when its logits are scaled by beta = 1 / T.

Sums of the negative log-likelihood at nine betas merge by adding; a parabola through the least of them estimates
the best one. A Newton step from beta = 1 overshoots where the optimum is far away, so none is taken.
"""

import math
from collections.abc import Sequence

import numpy as np

from monitor.divergence import FLOOR
from monitor.histograms import COARSE, Floats

BETAS = tuple(2 ** (step / 2) for step in range(-4, 5))  # 1/4 to 4


def tempered(p: Sequence[float], q: Sequence[float]) -> tuple[int, ...]:
    """For one answer, in units of 1 / COARSE: the likelihood loss in nats at each beta, then the score at beta 1.

    The score p.z - E_q z, z = log q floored, is 0 on average just where beta = 1 is best.
    """
    z = [math.log(max(b, FLOOR)) for b in q]
    along = math.fsum(a * logit for a, logit in zip(p, z, strict=True))
    losses = [math.log(math.fsum(math.exp(beta * logit) for logit in z)) - beta * along for beta in BETAS]
    total = math.fsum(map(math.exp, z))
    expected = math.fsum(math.exp(logit) / total * logit for logit in z)
    return tuple(round(value * COARSE) for value in (*losses, along - expected))


def tempered_reals(p: Floats, q: Floats) -> Floats:
    """[pairs, betas + 1]: the same of many, not yet rounded."""
    z = np.log(np.maximum(q, FLOOR))
    along = (p * z).sum(axis=1)
    found = np.empty((len(p), len(BETAS) + 1))
    slow, fast = np.exp(BETAS[0] * z), np.exp(BETAS[1] * z)  # the other powers are squares of these two
    for index, beta in enumerate(BETAS):
        power = slow if index % 2 == 0 else fast
        total = power.sum(axis=1)
        found[:, index] = np.log(total) - beta * along
        if beta == 1:
            found[:, -1] = along - (power * z).sum(axis=1) / total
        power *= power
    return found


def best_beta(losses: Sequence[float]) -> float:
    """Where the parabola through the least of the losses and its neighbours is least, in log beta; nan without.

    At either end of the grid the end itself: the optimum lies there or beyond.
    """
    least = min(range(len(BETAS)), key=losses.__getitem__)
    if not any(losses):
        return math.nan
    if least in (0, len(BETAS) - 1):
        return BETAS[least]
    left, middle, right = losses[least - 1 : least + 2]
    bend = left - 2 * middle + right
    step = 0.5 * (left - right) / bend if bend > 0 else 0.0
    return BETAS[least] * 2 ** (step / 2)
