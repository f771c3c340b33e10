"""Null runs: no stream ever exceeds its null, so every alarm is a false one. Their mean has to be at most mass / A."""

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy.special import betainc

from benchmarks.detectors.kernel import CORES, Codes, Ints, alarm_counts, new_detectors, wagers_of
from benchmarks.detectors.streams import BINS, EVALUATION, bernoulli, beta, diurnal, generator
from benchmarks.report import Floor, Table
from monitor.detector import Terms, lower_edges, terms_for

LEVEL = 10_000.0  # A: small, so that false alarms are frequent enough to be counted
SLICES = 30
DAY = 100_000  # requests
BETA = (2, 18)  # mean 0.1
ROUNDED_MEAN = float((1 - betainc(*BETA, np.arange(1, BINS) / BINS)).sum() / BINS)  # of lower edges


@dataclass(frozen=True, slots=True)
class NullCell:
    """False alarms of one kind of stream."""

    what: str
    null: str
    streams: int
    steps: int
    mass: float  # given out to one stream over all steps
    level: float
    alarms: Ints  # by stream

    @property
    def bound(self) -> float:
        return self.mass / self.level

    @property
    def mean(self) -> float:
        return float(self.alarms.mean())

    @property
    def sigma(self) -> float:
        """Of the mean; a cell that shows no spread has that of a Poisson count at its bound."""
        spread = float(self.alarms.std(ddof=1)) if self.alarms.any() else math.sqrt(self.bound)
        return spread / math.sqrt(self.streams)


def null_cells(streams: int, steps: int) -> list[NullCell]:
    """Every null run of our detector, each with a restart mass of 1 a request or a tick; on every core."""
    rates = (0.01, 0.05, 0.2)
    cells: list[Callable[[], NullCell]] = [
        *(partial(_bernoulli, rate, m0, streams, steps) for rate in rates for m0 in (rate, rate + 0.01)),
        *(partial(_beta, m0, streams, steps) for m0 in (ROUNDED_MEAN, 0.1, 0.12)),
        partial(_in_the_day, streams, steps),
        partial(_ticks, streams, steps // 100),
        partial(_repeats, streams, steps // 100, counts_once=True),
        partial(_slices, streams, steps // 1000),
    ]
    with ProcessPoolExecutor(CORES) as pool:
        return [job.result() for job in [pool.submit(cell) for cell in cells]]


def retries_counted_each_time(streams: int, steps: int) -> NullCell:
    """What the monitor does not do; it shows why."""
    return _repeats(streams, steps // 100, counts_once=False)


def null_table(cells: Sequence[NullCell]) -> Table:
    header = ("stream", "null", "streams x steps", "false alarms", "mean", "bound: mass / A", "mean / bound")
    rows = [
        (
            cell.what,
            cell.null,
            f"{cell.streams} x {cell.steps:,}",
            str(int(cell.alarms.sum())),
            f"{cell.mean:.3f} ± {cell.sigma:.3f}",
            f"{cell.bound:.2f}",
            f"{cell.mean / cell.bound:.3f}",
        )
        for cell in cells
    ]
    return Table("Null runs of our detector", header, tuple(rows), "± is one standard error of the mean.")


def null_floors(cells: Sequence[NullCell]) -> list[Floor]:
    """How many standard errors the mean lies above its bound: at most 3."""
    return [
        Floor(f"{cell.what}, null {cell.null}: standard errors above mass / A",
              (cell.mean - cell.bound) / cell.sigma, 3.0)
        for cell in cells
    ]  # fmt: skip


def _bernoulli(rate: float, m0: float, streams: int, steps: int) -> NullCell:
    blocks = bernoulli(generator(EVALUATION, 10, int(1000 * rate), int(1000 * m0)), streams, steps, rate)
    null = "at the boundary" if m0 == rate else f"interior, {100 * m0:.0f} %"
    return _requests(f"Bernoulli {100 * rate:.0f} %", null, terms_for(m0), blocks, streams, steps)


def _beta(m0: float, streams: int, steps: int) -> NullCell:
    """Losses of mean 0.1 in 64 bins that are rounded down, so that what is seen has a smaller mean."""
    blocks = beta(generator(EVALUATION, 11, int(1000 * m0)), streams, steps, *BETA)
    null = {ROUNDED_MEAN: f"{m0:.4f}, the rounded mean", 0.1: "0.1, the mean"}.get(m0, f"interior, {m0:g}")
    return _requests("Beta(2, 18), 64 bins", null, terms_for(m0, lower_edges(BINS)), blocks, streams, steps)


def _in_the_day(streams: int, steps: int) -> NullCell:
    """The null is that of the worst hour."""
    rate = diurnal(0.03, 0.05, DAY)
    blocks = bernoulli(generator(EVALUATION, 12), streams, steps, rate)
    return _requests("diurnal 3 % to 5 %", "5 %, the worst hour's", terms_for(0.05), blocks, streams, steps)


def _requests(
    what: str, null: str, terms: Terms, blocks: Iterator[Codes], streams: int, steps: int
) -> NullCell:
    alarms = alarm_counts(new_detectors(wagers_of(terms), streams, LEVEL), blocks)
    return NullCell(what, null, streams, steps, float(steps), LEVEL, alarms)


def _ticks(streams: int, ticks: int, inputs: int = 100) -> NullCell:
    """As in production: one step for a tick of many inputs, one unit of mass for the tick."""
    chance, level = generator(EVALUATION, 13), LEVEL / 100
    detectors, alarms = new_detectors(wagers_of(terms_for(0.05)), streams, level), np.zeros(streams, np.int64)
    for _ in range(ticks):
        alarms += detectors.step(detectors.wagers.of_counts(_counts(chance, inputs, 0.05, streams)))
    return NullCell(
        f"Bernoulli 5 %, ticks of {inputs}", "at the boundary", streams, ticks, ticks, level, alarms
    )


def _repeats(streams: int, ticks: int, counts_once: bool) -> NullCell:
    """100 inputs a tick, of which a client in a retry loop sent one 41 times: one outcome for all of them."""
    chance, level = generator(EVALUATION, 15), LEVEL / 100
    detectors, alarms = new_detectors(wagers_of(terms_for(0.05)), streams, level), np.zeros(streams, np.int64)
    weight = 1 if counts_once else 41
    for _ in range(ticks):
        counts = _counts(chance, 59, 0.05, streams) + weight * _counts(chance, 1, 0.05, streams)
        alarms += detectors.step(detectors.wagers.of_counts(counts))
    what = f"Bernoulli 5 %, a retry loop, counted {'once a tick' if counts_once else 'each time'}"
    return NullCell(what, "at the boundary", streams, ticks, ticks, level, alarms)


def _slices(streams: int, ticks: int, inputs: int = 1000) -> NullCell:
    """30 slices by Zipf's law and the overall one above them, on one mass: no price for their number."""
    chance, level = generator(EVALUATION, 14), 10.0
    shares = 1 / np.arange(1, SLICES + 1)
    shares /= shares.sum()
    wagers = wagers_of(terms_for(0.05))
    detectors = new_detectors(wagers, streams * (SLICES + 1), level)
    alarms = np.zeros(streams, np.int64)
    for _ in range(ticks):
        sizes = chance.multinomial(inputs, shares, size=streams)
        wrong = chance.binomial(sizes, 0.05)
        sizes = np.column_stack([sizes.sum(axis=1), sizes])
        wrong = np.column_stack([wrong.sum(axis=1), wrong])
        counts = np.stack([(sizes - wrong).ravel(), wrong.ravel()], axis=1)
        raised = detectors.step(wagers.of_counts(counts), 1 / (SLICES + 1))
        alarms += raised.reshape(streams, SLICES + 1).sum(axis=1)
    return NullCell(f"{SLICES} slices and the overall one, 5 %, ticks of {inputs:,}", "at the boundary",
                    streams, ticks, ticks, level, alarms)  # fmt: skip


def _counts(chance: np.random.Generator, inputs: int, rate: float, streams: int) -> Ints:
    wrong = chance.binomial(inputs, rate, size=streams)
    return np.stack([inputs - wrong, wrong], axis=1).astype(np.int64)
