"""What our detector does with changes that are no drift, or not everywhere: improvements, retries, days, slices."""

import numpy as np

from benchmarks.detectors.delays import BEFORE, Delays, measured_delays, told
from benchmarks.detectors.kernel import (
    Floats,
    Ints,
    Wagers,
    alarm_counts,
    first_alarms,
    new_detectors,
    wagers_of,
)
from benchmarks.detectors.nulls import DAY, SLICES, retries_counted_each_time
from benchmarks.detectors.streams import EVALUATION, Rate, abrupt, bernoulli, diurnal, generator, ramp
from benchmarks.report import Table
from monitor.detector import terms_for

LEVEL = 1e6
CHANGE = 10_000
INPUTS = 100  # of a tick in the runs over slices
SMALL_SHARE = 0.02  # of the traffic, the slice that changes
WORSE = 0.30
QUIET = 30_000  # requests of a run in which nothing gets worse
BURST = 500  # requests
EASY, HARD = 0.03, 0.07  # rates of two halves of the inputs
MOVED = 0.066  # of one part of the first and nine of the second


def behaviour_table(streams: int, steps: int) -> Table:
    """Each row a situation, what was seen, and what should be."""
    retries = retries_counted_each_time(streams, steps // 2)
    days = _alarms(diurnal(0.03, 0.05, DAY), 0.04, streams, steps)
    rows = [
        ("5 % to 2 % at 10,000", f"{_alarms(abrupt(BEFORE, 0.02, CHANGE), BEFORE, streams, QUIET)} alarms",
         f"false ones: at most {streams * QUIET / LEVEL:g} on average"),
        *_ramps(streams),
        (f"5 % to 15 % for {BURST:,} of every {10 * BURST:,} requests", _bursts(streams), "from the first burst on"),
        *_moved_traffic(streams),
        (retries.what, f"{retries.mean / retries.bound:.1f} times mass / A",
         "why the monitor counts a repeated input once a tick"),
        ("diurnal 3 % to 5 %, null 4 %, the mean's", f"{days} alarms in {streams} streams",
         "a known limit: the null has to be that of the worst hour"),
        *_small_slice(streams),
    ]  # fmt: skip
    note = f"{streams} streams each, A = 1e6; delays are medians in requests of the whole task."
    return Table("Behaviour of our detector", ("situation", "seen", "remark"), tuple(rows), note)


def _alarms(rate: Rate, m0: float, streams: int, steps: int) -> int:
    blocks = bernoulli(generator(EVALUATION, 40, int(1000 * m0)), streams, steps, rate)
    return int(alarm_counts(new_detectors(wagers_of(terms_for(m0)), streams, LEVEL), blocks).sum())


def _ramps(streams: int) -> list[tuple[str, str, str]]:
    rows = []
    for length in (1_000, 10_000):
        blocks = bernoulli(
            generator(EVALUATION, 41, length), streams, 40_000, ramp(BEFORE, 0.15, CHANGE, length)
        )
        first = first_alarms(new_detectors(wagers_of(terms_for(BEFORE)), streams, LEVEL), blocks)
        what = f"5 % to 15 % over {length:,} requests"
        rows.append((what, told(measured_delays(first, CHANGE)), "from the ramp's beginning"))
    return rows


def _bursts(streams: int) -> str:
    def rate(step: int) -> float:
        return 0.15 if step >= CHANGE and step % (10 * BURST) < BURST else BEFORE

    blocks = bernoulli(generator(EVALUATION, 43), streams, 60_000, rate)
    first = first_alarms(new_detectors(wagers_of(terms_for(BEFORE)), streams, LEVEL), blocks)
    return told(measured_delays(first, CHANGE))


def _moved_traffic(streams: int) -> list[tuple[str, str, str]]:
    """Each half of the inputs is answered as before; there is more of the harder one."""
    own = sum(_alarms(abrupt(rate, rate, CHANGE), rate, streams, QUIET) for rate in (EASY, HARD))
    blocks = bernoulli(generator(EVALUATION, 44), streams, 80_000, abrupt(BEFORE, MOVED, CHANGE))
    overall = first_alarms(new_detectors(wagers_of(terms_for(BEFORE)), streams, LEVEL), blocks)
    what = f"traffic moves to a harder slice, {100 * EASY:g} % and {100 * HARD:g} % as before, 1:1 to 1:9"
    return [
        (
            f"{what}: their own detectors",
            f"{own} alarms",
            f"false ones: at most {2 * streams * QUIET / LEVEL:g} on average",
        ),
        (
            f"{what}: the overall one",
            told(measured_delays(overall, CHANGE)),
            f"its rate is {100 * MOVED:g} % then",
        ),
    ]


def _small_slice(streams: int) -> list[tuple[str, str, str]]:
    """One slice of 2 % of the traffic goes from 5 % to 30 %; 29 others and the overall one see little of it."""
    own, pooled = _slice_delays(streams, ticks=1200, change=200)
    what = f"a slice of {100 * SMALL_SHARE:g} % of the traffic, 5 % to {100 * WORSE:g} %"
    return [
        (f"{what}: its own detector", told(own), f"one of {SLICES + 1} that share the mass"),
        (f"{what}: the overall detector alone", told(pooled), "with all the mass for itself"),
    ]


def _slice_delays(streams: int, ticks: int, change: int) -> tuple[Delays, Delays]:
    chance, wagers = generator(EVALUATION, 42), wagers_of(terms_for(BEFORE))
    own = new_detectors(wagers, streams, LEVEL)
    overall = new_detectors(wagers, streams, LEVEL)
    first: dict[str, Ints] = {name: np.zeros(streams, np.int64) for name in ("own", "overall")}
    for tick in range(1, ticks + 1):
        size = chance.binomial(INPUTS, SMALL_SHARE, size=streams)
        wrong = chance.binomial(size, BEFORE if tick <= change else WORSE)
        rest = chance.binomial(INPUTS - size, BEFORE)
        for name, detectors, evidence, mass in (
            ("own", own, _evidence(wagers, size, wrong), 1 / (SLICES + 1)),
            ("overall", overall, _evidence(wagers, np.full(streams, INPUTS), wrong + rest), 1.0),
        ):
            alarms = detectors.step(evidence, mass)
            first[name][alarms & (first[name] == 0)] = tick * INPUTS
    return measured_delays(first["own"], change * INPUTS), measured_delays(first["overall"], change * INPUTS)


def _evidence(wagers: Wagers, size: Ints, wrong: Ints) -> Floats:
    return wagers.of_counts(np.stack([size - wrong, wrong], axis=1))
