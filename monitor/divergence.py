"""How far the student's distribution q lies from the teacher's p, for one input.

Both are normalised first: answers may be rounded, and a sum of 0.99 would make divergences negative.
"""

import math
from collections.abc import Sequence

FLOOR = 1e-12  # least probability in a logarithm, so one certain wrong answer costs 27.6 nats, not infinity


def normalised(probabilities: Sequence[float]) -> tuple[float, ...]:
    """The same proportions, adding up to one."""
    total = math.fsum(probabilities)
    return tuple(probability / total for probability in probabilities)


def total_variation(p: Sequence[float], q: Sequence[float]) -> float:
    """Half the absolute difference: 0 when equal, 1 when nothing overlaps."""
    return 0.5 * math.fsum(abs(a - b) for a, b in zip(p, q, strict=True))


def jensen_shannon_bits(p: Sequence[float], q: Sequence[float]) -> float:
    """Jensen-Shannon divergence (not its square root, the distance), base 2, in [0, 1]."""
    middle = [(a + b) / 2 for a, b in zip(p, q, strict=True)]
    # m is 0 beside a positive probability when that one is the smallest number there is
    terms = [a * math.log2(a / m) for a, m in zip((*p, *q), middle * 2, strict=True) if a > 0 and m > 0]
    return min(1.0, max(0.0, math.fsum(terms) / 2))


def kullback_leibler_nats(p: Sequence[float], q: Sequence[float]) -> float:
    """KL(p || q), the distillation loss, with q floored."""
    return max(0.0, math.fsum(a * math.log(a / max(b, FLOOR)) for a, b in zip(p, q, strict=True) if a > 0))


def is_clipped(p: Sequence[float], q: Sequence[float]) -> bool:
    """Whether the floor changed the two logarithmic losses of this input."""
    return any(a > 0 and b < FLOOR for a, b in zip(p, q, strict=True))


def brier(p: Sequence[float], q: Sequence[float]) -> float:
    """Squared distance, in [0, 2]."""
    return math.fsum((b - a) ** 2 for a, b in zip(p, q, strict=True))


def cross_entropy_nats(p: Sequence[float], q: Sequence[float]) -> float:
    """Negative log-likelihood of the student under the teacher's distribution, with q floored."""
    return -math.fsum(a * math.log(max(b, FLOOR)) for a, b in zip(p, q, strict=True) if a > 0)
