"""Our delay beside that of the oracle: Shiryaev-Roberts with both rates known, same streams, same A."""

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import numpy as np

from benchmarks.detectors.kernel import (
    CORES,
    Floats,
    Ints,
    Wagers,
    first_alarms,
    new_detectors,
    oracle_wagers,
    wagers_of,
)
from benchmarks.detectors.streams import EVALUATION, abrupt, bernoulli, generator
from benchmarks.report import Floor, Table
from monitor.detector import terms_for
from monitor.intervals import upper_bound

BEFORE = 0.05
AFTER = (0.06, 0.08, 0.10, 0.15, 0.25)
CHANGES = (0, 10_000)
LEVEL = 1e6
HORIZON = {0.06: 80_000, 0.08: 30_000, 0.10: 15_000, 0.15: 8_000, 0.25: 5_000}  # requests after the change
FLOOR, STRETCH = 1.4, 1.2
RESAMPLES = 1000
REFERENCES = {600: 0.02, 20_000: 0.01}  # pairs that the null is estimated from -> tolerance
REFERENCE_DELTA = 0.05


@dataclass(frozen=True, slots=True)
class Delays:
    """Requests from the change to the first alarm, by run; 0 where none came within the horizon."""

    requests: Ints
    false_alarms: int  # runs that alarmed before the change, left out of `requests`
    runs: int

    @property
    def missed(self) -> float:
        return float((self.requests == 0).mean()) if len(self.requests) else 0.0

    def quantile(self, share: float) -> float | None:
        """None where too many runs never alarmed."""
        if not len(self.requests):
            return None
        reached = np.where(self.requests == 0, np.inf, self.requests)
        found = float(np.quantile(reached, share, method="higher"))
        return found if np.isfinite(found) else None


@dataclass(frozen=True, slots=True)
class DelayCell:
    """One change, seen by every detector on the same streams."""

    after: float
    change: int
    oracle: Delays
    ours: Delays
    estimated: dict[int, Delays]  # pairs of the reference -> with a null from them

    @property
    def ratio(self) -> float | None:
        """Of the medians."""
        ours, oracle = self.ours.quantile(0.5), self.oracle.quantile(0.5)
        return None if ours is None or oracle is None else ours / oracle

    def interval(self) -> tuple[float, float]:
        return ratio_interval(self.ours, self.oracle, int(1000 * self.after), self.change)


def delay_cells(runs: int) -> list[DelayCell]:
    """On every core."""
    cells = [(after, change, runs) for change in CHANGES for after in AFTER]
    with ProcessPoolExecutor(CORES) as pool:
        return list(pool.map(_cell, *zip(*cells, strict=True)))


def delay_table(cells: Sequence[DelayCell]) -> Table:
    estimates = [f"null from {pairs:,} pairs + {100 * tol:g} %" for pairs, tol in REFERENCES.items()]
    header = ("5 % to", "change at", "runs", "oracle", "ours", "90 %", "ratio", "95 % interval", *estimates)
    note = (
        "Median requests from the change to the alarm, A = 1e6, a restart mass of 1 a request. Oracle and ours"
        " are told the rate before the change. The last columns have a null as in production: the exact upper"
        " bound of a reference of their own in each run, plus the tolerance; in brackets the share of runs without"
        " an alarm within the horizon, most of them because the rate after the change lies within the null."
    )
    return Table("Delay beside the oracle", header, tuple(map(_row, cells)), note)


def delay_floors(cells: Sequence[DelayCell]) -> list[Floor]:
    floors = []
    for cell in cells:
        what = f"5 % to {100 * cell.after:g} % at {cell.change:,}: median delay, times the oracle's"
        floors.append(Floor(what, cell.ratio, FLOOR))
        floors.append(Floor(what, cell.ratio, STRETCH, stretch=True))
    return floors


def ratio_interval(ours: Delays, other: Delays, *words: int) -> tuple[float, float]:
    """95 % of resampled ratios of medians; the words seed the resampling."""
    chance = generator(EVALUATION, 90, *words)
    with np.errstate(invalid="ignore"):
        ratios = _medians(chance, ours.requests) / _medians(chance, other.requests)
    low, high = np.quantile(np.nan_to_num(ratios, nan=1.0, posinf=np.inf), [0.025, 0.975], method="nearest")
    return float(low), float(high)


def measured_delays(first: Ints, change: int | Ints) -> Delays:
    """`first` is the step, from 1, of each run's first alarm; 0 for none. `change` may be each run's own."""
    early = (first > 0) & (first <= change)
    return Delays(np.where(first > change, first - change, 0)[~early], int(early.sum()), len(first))


def _cell(after: float, change: int, runs: int) -> DelayCell:
    return DelayCell(
        after,
        change,
        oracle=_delays(oracle_wagers(BEFORE, after), after, change, runs),
        ours=_delays(wagers_of(terms_for(BEFORE)), after, change, runs),
        estimated={
            pairs: _delays(_estimated(pairs, tolerance, runs), after, change, runs)
            for pairs, tolerance in REFERENCES.items()
        },
    )


def _delays(wagers: Wagers, after: float, change: int, runs: int) -> Delays:
    """Every call for one cell draws the same streams."""
    chance = generator(EVALUATION, 20, int(1000 * after), change)
    blocks = bernoulli(chance, runs, change + HORIZON[after], abrupt(BEFORE, after, change))
    return measured_delays(first_alarms(new_detectors(wagers, runs, LEVEL), blocks), change)


def _estimated(pairs: int, tolerance: float, runs: int) -> Wagers:
    """Each run has drawn a reference of its own."""
    wrong = generator(EVALUATION, 21, pairs).binomial(pairs, BEFORE, size=runs)
    return wagers_of([terms_for(upper_bound(int(k), pairs, REFERENCE_DELTA) + tolerance) for k in wrong])


def _row(cell: DelayCell) -> tuple[str, ...]:
    low, high = cell.interval()
    slow = cell.ours.quantile(0.9)
    return (
        f"{100 * cell.after:g} %",
        f"{cell.change:,}",
        str(cell.ours.runs),
        told(cell.oracle),
        told(cell.ours),
        "never" if slow is None else f"{slow:,.0f}",
        "-" if cell.ratio is None else f"{cell.ratio:.2f}",
        f"{low:.2f} to {high:.2f}",
        *map(told, cell.estimated.values()),
    )


def told(delays: Delays) -> str:
    """The median, and how many runs did not alarm; `all early` where each had a false alarm before the change."""
    if not len(delays.requests):
        return "all early"
    median = delays.quantile(0.5)
    missed = f" ({100 * delays.missed:.0f} %)" if delays.missed else ""
    return ("never" if median is None else f"{median:,.0f}") + missed


def _medians(chance: np.random.Generator, requests: Ints) -> Floats:
    """Of resampled runs; one without an alarm counts as later than any."""
    reached = np.where(requests == 0, np.inf, requests.astype(np.float64))
    picks = reached[chance.integers(len(reached), size=(RESAMPLES, len(reached)))]
    medians: Floats = np.median(picks, axis=1)
    return medians
