"""How many gate rows it takes to prove a bar: exact binomial arithmetic, no simulation.

A slice passes when the Clopper-Pearson lower bound of its fidelity reaches the bar. Whether it can depends on the
rows it has and on how far above the bar the student really is.
"""

from collections.abc import Callable

from monitor.intervals import at_most_p_value

POWER = 0.8  # probability that a student with the assumed fidelity passes
MOST_ROWS = 10_000_000  # beyond this the answer is "never"


def rows_needed(bar: float, fidelity: float, alpha: float, power: float = POWER) -> int | None:
    """From how many rows on a student of that true fidelity passes with probability `power` at least.

    None when it never does: its fidelity is not above the bar. `alpha` is one-sided. The power falls a little with
    each row until one more disagreement is allowed, so what counts is its lowest point before that.
    """
    if fidelity <= bar:
        return None
    allowed, rows = 0, _least_rows(0, bar, alpha)
    while rows <= MOST_ROWS:
        following = _least_rows(allowed + 1, bar, alpha)
        if at_most_p_value(allowed, following - 1, 1 - fidelity) >= power:
            return rows
        # large gates are found in steps of a hundredth
        step = max(1, allowed // 100)
        allowed, rows = allowed + step, following if step == 1 else _least_rows(allowed + step, bar, alpha)
    return None


def fidelity_needed(rows: int, bar: float, alpha: float, power: float = POWER) -> float | None:
    """How faithful a student has to be so that so many rows prove the bar with probability `power`.

    None when not even a student that never disagrees would pass.
    """
    allowed = _most_disagreements(rows, bar, alpha)
    if allowed is None:
        return None
    low, high = bar, 1.0
    while high - low > 1e-6:
        middle = (low + high) / 2
        if at_most_p_value(allowed, rows, 1 - middle) >= power:
            high = middle
        else:
            low = middle
    return high


def _least_rows(disagreements: int, bar: float, alpha: float) -> int:
    """The smallest gate that proves the bar in spite of so many disagreements."""
    return _first(lambda rows: at_most_p_value(disagreements, rows, 1 - bar) <= alpha, disagreements + 1)


def _most_disagreements(rows: int, bar: float, alpha: float) -> int | None:
    """With which a gate of so many rows still proves the bar; None when not with any."""
    refused = _first(lambda count: at_most_p_value(count, rows, 1 - bar) > alpha, 0)
    return None if refused == 0 else refused - 1


def _first(holds: Callable[[int], bool], start: int) -> int:
    """The smallest whole number from `start` on for which `holds`, which must be monotone."""
    step = 1
    while not holds(start + step - 1) and step <= 2 * MOST_ROWS:
        step *= 2
    low, high = start + step // 2 - 1, start + step - 1  # holds at `high`; not known below
    low = max(low, start - 1)
    while high - low > 1:
        middle = (low + high) // 2
        if holds(middle):
            high = middle
        else:
            low = middle
    return high
