"""The failure table: blocks of legs become ratios with their bootstrap bounds, rows and floors."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

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
    """Of the condition to off."""
    return _p99([leg for block in blocks for leg in block.during]) / _p99(
        [leg for block in blocks for leg in block.off]
    )


def off_ratio(blocks: Sequence[Block]) -> float:
    """Of off to off: the last leg of each block to its first."""
    return _p99([block.after for block in blocks]) / _p99([block.before for block in blocks])


def _p99(legs: Sequence[Leg]) -> float:
    """Microseconds: the median over the legs of each leg's own p99; infinite when none was answered.

    A condition is in force through the whole of every leg, so a leg that something else disturbed may be outvoted.
    """
    return float(np.median([percentile(leg.counted_us, 0.99) for leg in legs]))


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
        f"{_p99(during) / 1e3:.2f}",
        f"{_p99(off) / 1e3:.2f}",
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
