"""The failure table: blocks of legs become ratios with their bootstrap bounds, rows and floors."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import trim_mean

from benchmarks.open_loop import Offered
from benchmarks.quantiles import Floats, percentile
from benchmarks.report import MISSED, Floor, Report, Table

LIMIT, STRETCH = 1.25, 1.05
HEADER = (
    *(
        "condition",
        "p99 ms",
        "off",
        "ratio",
        "upper bound",
        "off/off",
        "its bound",
        "left out",
        "worst ms",
        "errors",
    ),
    *("dropped", ""),
)


@dataclass(frozen=True, slots=True)
class Leg:
    """What callers saw, and the latencies that count: of the requests that no stall of the host touched."""

    seen: Offered
    counted_us: Floats


@dataclass(frozen=True, slots=True)
class Block:
    """Off, condition, condition, off."""

    before: Leg
    during: tuple[Leg, Leg]
    after: Leg
    held: bool  # the condition was what it says until the end of the second leg

    @property
    def off(self) -> tuple[Leg, Leg]:
        return self.before, self.after


@dataclass(frozen=True, slots=True)
class Outcome:
    condition: str
    blocks: tuple[Block, ...]
    drops: dict[str, int]
    unaccounted: int  # requests - recorded - dropped - pending, at the end
    bound: float  # of the p99 ratio of the condition to off
    off_bound: float  # of that of off to off


@dataclass(frozen=True, slots=True)
class Unmeasured:
    condition: str
    why: str


def p99_ratio(blocks: Sequence[Block]) -> float:
    """Of the condition to off: the geometric midmean over the blocks of the ratio within each.

    Within, since off itself moves by half from one minute to the next, far more than between neighbouring legs.
    """
    return _geometric_midmean([_p99_ratio(block.during, block.off) for block in blocks])


def off_ratio(blocks: Sequence[Block]) -> float:
    """Of off to off: the last leg of each block to its first, likewise."""
    return _geometric_midmean([_p99_ratio([block.after], [block.before]) for block in blocks])


def _p99_ratio(legs: Sequence[Leg], off: Sequence[Leg]) -> float:
    """Infinite too when off itself was not answered: nothing is shown by such a block."""
    return _p99(legs) / _p99(off) if math.isfinite(_p99(off)) else math.inf


def _p99(legs: Sequence[Leg]) -> float:
    """Microseconds, of all requests of these legs; infinite when none was answered."""
    return percentile(np.concatenate([leg.counted_us for leg in legs]), 0.99)


def _typical_p99_ms(pairs: Sequence[tuple[Leg, Leg]]) -> float:
    """The median over the blocks."""
    return float(np.median([_p99(legs) for legs in pairs])) / 1e3


def _geometric_midmean(ratios: Sequence[float]) -> float:
    """Without the lowest and the highest quarter: what disturbed a block or two is outvoted."""
    return float(np.exp(trim_mean(np.log(ratios), 0.25)))


def _left_out(legs: Sequence[Leg]) -> float:
    """Share of the answered requests that stalls touched."""
    answered = sum(len(leg.seen.latencies_us) for leg in legs)
    return 1 - sum(len(leg.counted_us) for leg in legs) / answered if answered else 0.0


def _errors(outcome: Outcome) -> int:
    return sum(leg.seen.error_count for block in outcome.blocks for leg in (*block.off, *block.during))


def failure_report(outcomes: Sequence[Outcome | Unmeasured], times_slower: float, note: str) -> Report:
    floors = [floor for outcome in outcomes for floor in _floors(outcome)]
    floors.append(Floor("the slow student's batch, times the quick one's", times_slower, 10, at_least=True))
    rows = tuple(row_of(outcome) for outcome in outcomes)
    return Report("failures", (Table("What callers notice", HEADER, rows, note),), tuple(floors))


def row_of(outcome: Outcome | Unmeasured) -> tuple[str, ...]:
    if isinstance(outcome, Unmeasured):
        return (outcome.condition, *["-"] * (len(HEADER) - 3), "not measured", MISSED)
    blocks = outcome.blocks
    off = [leg for block in blocks for leg in block.off]
    during = [leg for block in blocks for leg in block.during]
    worst = max(float(leg.seen.latencies_us.max(initial=0.0)) for leg in during)
    return (
        outcome.condition,
        f"{_typical_p99_ms([block.during for block in blocks]):.2f}",
        f"{_typical_p99_ms([block.off for block in blocks]):.2f}",
        f"{p99_ratio(blocks):.2f}",
        f"{outcome.bound:.2f}",
        f"{off_ratio(blocks):.2f}",
        f"{outcome.off_bound:.2f}",
        f"{_left_out(off):.1%} / {_left_out(during):.1%}",
        f"{worst / 1e3:.1f}",
        str(_errors(outcome)),
        ", ".join(f"{reason} {count}" for reason, count in outcome.drops.items()) or "-",
        MISSED if any(floor.breaks for floor in _floors(outcome)) else "holds",
    )


def _floors(outcome: Outcome | Unmeasured) -> list[Floor]:
    if isinstance(outcome, Unmeasured):
        return [Floor(f"{outcome.condition}: {outcome.why}", None, LIMIT)]
    name, bound = outcome.condition, outcome.bound
    return [
        Floor(f"{name}: upper bound of the p99 ratio", bound, LIMIT),
        Floor(f"{name}: upper bound of the p99 ratio", bound, STRETCH, stretch=True),
        Floor(f"{name}: blocks in which it was not so", sum(not block.held for block in outcome.blocks), 0),
        Floor(f"{name}: errors seen by callers", float(_errors(outcome)), 0),
        Floor(f"{name}: unaccounted requests", float(abs(outcome.unaccounted)), 0),
    ]
