"""The stream of true labels: its losses, and the null that its first labels give.

A label's loss is 1 where the teacher alone was right. Of a label with weight w the bets are taken on w (loss - m0),
whose mean over what was labelled is not above 0 if the mean loss over all pairs is not above m0. Divided by the
greatest weight that is let in, that is a loss between 0 and 1 again: m0 + w / limit (loss - m0).
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

from monitor.baseline import CEILING, REFERENCE_DELTA, Null
from monitor.detector import DISAGREEMENT, LEAST_NULL
from monitor.histograms import COARSE
from monitor.intervals import upper_bound

STEPS = 8  # of w / limit, rounded against the alarm

Regrets = Mapping[tuple[int, bool], int]  # weight, whether the teacher alone is right -> distinct inputs


class Learnt(NamedTuple):
    """What the labels before the first bet said; weights fixed point."""

    weight: int = 0
    squares: int = 0
    regret: int = 0  # weight of those where the teacher alone was right

    @property
    def effective(self) -> float:
        return self.weight**2 / (self.squares * COARSE) if self.squares else 0.0


NOTHING_LEARNT = Learnt()


def learnt(before: Learnt, regrets: Regrets) -> Learnt:
    return Learnt(
        before.weight + sum(weight * count for (weight, _), count in regrets.items()),
        before.squares + sum((weight * weight >> 20) * count for (weight, _), count in regrets.items()),
        before.regret + sum(weight * count for (weight, wrong), count in regrets.items() if wrong),
    )


def null_of_labels(reference: Learnt, slices: int, tolerance: float) -> Null:
    """Exact upper bound where all weights are equal; else an approximation by the effective number."""
    rate, labels = reference.regret / reference.weight, math.floor(reference.effective + 1e-9)
    regrets = math.ceil(rate * labels - 1e-9)
    bound = upper_bound(regrets, labels, REFERENCE_DELTA / slices)
    reason = (
        f"the teacher alone was right on {regrets} of the first {labels} labels: upper bound {bound:.4f},"
        f" tolerance {tolerance}"
    )
    return Null(min(CEILING, bound + tolerance), "labels", reason, rate)


def limit_for(regrets: Regrets, limit: int) -> int:
    """The least power of two that no weight exceeds, at least `limit`."""
    greatest = max((weight for weight, _ in regrets), default=0)
    while limit * COARSE < greatest:
        limit *= 2
    return limit


def losses_for(m0: float, limit: int) -> tuple[float, ...]:
    """Of the counts that counts_for gives, in their order."""
    if limit == 1:
        return DISAGREEMENT
    m0 = max(m0, LEAST_NULL)
    right = (m0 * (1 - step / STEPS) for step in range(STEPS, 0, -1))
    wrong = (m0 + step / STEPS * (1 - m0) for step in range(STEPS + 1))
    return (*right, *wrong)


def counts_for(regrets: Regrets, limit: int) -> tuple[int, ...]:
    """Inputs by loss. A weight is rounded up where the student was not worse, and down where it was."""
    counts = [0] * (2 if limit == 1 else 2 * STEPS + 1)
    for (weight, wrong), count in regrets.items():
        if limit == 1:
            counts[int(wrong)] += count
        elif wrong:
            counts[STEPS + STEPS * weight // (limit * COARSE)] += count
        else:
            counts[STEPS + STEPS * -weight // (limit * COARSE)] += count
    return tuple(counts)
