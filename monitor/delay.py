"""How long a detector takes to notice a shift: what its recursion does to counts that follow their expectation."""

import math
from collections.abc import Callable

from monitor.detector import DISAGREEMENT, Terms

MOST_TICKS = 1e9  # beyond it nobody waits


def expected_ticks(
    terms: Terms, rate: float, inputs: float, mass: float, log_threshold: float
) -> float | None:
    """Ticks until an alarm when a tick brings `inputs` of which a share `rate` disagrees from now on.

    The detector is taken to begin from nothing, so that what it gathered before the shift, and luck, make it a
    little faster than said. None where it is not expected to alarm: the rate is within the null.
    """
    if terms.losses != DISAGREEMENT:
        raise ValueError("a share of disagreements says nothing about losses between 0 and 1")
    growth = [inputs * _growth(terms, index, rate) for index in range(len(terms.bets))]
    if max(growth) <= 0 or rate <= terms.m0:
        return None
    wanted = log_threshold + math.log(len(terms.bets)) - math.log(mass)

    def alarms(ticks: float) -> bool:
        logs = [_log_geometric_sum(each, ticks) for each in growth]
        greatest = max(logs)
        return greatest + math.log(math.fsum(math.exp(log - greatest) for log in logs)) >= wanted

    return max(1.0, _first(alarms)) if alarms(MOST_TICKS) else None


def _growth(terms: Terms, index: int, rate: float) -> float:
    """By how much one input raises the log-wealth of a bet, on average."""
    one = Terms(terms.m0, (terms.bets[index],))
    return rate * one.log_evidence((0, 1))[0] + (1 - rate) * one.log_evidence((1, 0))[0]


def _log_geometric_sum(step: float, ticks: float) -> float:
    """log of exp(step) + exp(2 step) + ... + exp(ticks step): mass that was given out at each tick and grew since."""
    if abs(step) < 1e-12:
        return math.log(ticks)
    if step > 0:  # the last of them, times what the earlier ones are of it
        return step * ticks + math.log(-math.expm1(-step * ticks)) - math.log(-math.expm1(-step))
    return step + math.log(-math.expm1(step * ticks)) - math.log(-math.expm1(step))


def _first(alarms: Callable[[float], bool]) -> float:
    """The least number of ticks at which it alarms, to a ten-thousandth of it."""
    low, high = 0.0, 1.0
    while not alarms(high):
        low, high = high, 2 * high
    while high - low > 1e-4 * high:
        middle = (low + high) / 2
        low, high = (low, middle) if alarms(middle) else (middle, high)
    return high
