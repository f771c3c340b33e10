"""Our detector beside other people's on the same streams: as they come, and all tuned to equally many false alarms."""

import json
import math
import subprocess
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.detectors.delays import Delays, measured_delays
from benchmarks.detectors.kernel import (
    Codes,
    Floats,
    Ints,
    Wagers,
    alarm_counts,
    first_alarms,
    new_detectors,
    wagers_of,
)
from benchmarks.detectors.streams import EVALUATION, TUNING, generator
from benchmarks.detectors.windows import TESTS, WindowTest, first_steps
from benchmarks.packages import detectors as comparators_python
from monitor.detector import terms_for
from monitor.intervals import upper_bound

BEFORE, CHANGE, JITTER = 0.05, 10_000, 1_000  # changes come from 10,000 on, not at the end of a window
HORIZONS = {0.08: 20_000, 0.10: 15_000, 0.15: 8_000, 0.25: 5_000}
IMPROVED, IMPROVED_HORIZON = 0.02, 10_000  # a change for the better, of which nobody should be woken
REFERENCE = 10_000  # pairs that windows compare with, and that the learnt null comes from
RUNTIME = Path(__file__).with_name("comparator_runtime.py")
PARALLEL = 2
COMPARATOR_SECONDS = 900  # of one of them, tuning included
DEFAULT_LEVEL = 259_200.0  # A of one false alarm in 30 days of ticks of 10 s


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is drawn; the rate of false alarms that everything is tuned to, a request."""

    streams: int = 40
    steps: int = 100_000
    runs: int = 200
    rate: float = 1e-5
    comparators: tuple[str, ...] = ("ADWIN", "PageHinkley", "DDM", "EDDM", "HDDMA", "HDDMW", "MAPIE")
    few: tuple[str, ...] = ("KSWIN",)  # too slow for these sizes: a fortieth of the null runs, not tuned


@dataclass(frozen=True, slots=True)
class Drawn:
    """Streams [streams, steps], and how many pairs of each stream's own reference disagreed."""

    tuning: Codes
    null: Codes
    changes: Mapping[float, Codes]
    moments: Mapping[float, Ints]  # by change, the request at which each run's rate moves
    references: Mapping[str, Floats]  # tuning, null, and by change


@dataclass(frozen=True, slots=True)
class Row:
    """One detector at one setting."""

    name: str
    setting: str
    false_alarms: int
    updates: int
    delays: Mapping[float, Delays]
    microseconds: float | None = None

    @property
    def a_million(self) -> float:
        return self.false_alarms / self.updates * 1e6


@dataclass(frozen=True, slots=True)
class Compared:
    default: tuple[Row, ...]
    tuned: tuple[Row, ...]
    sizes: Sizes
    problems: tuple[str, ...]


def compared(sizes: Sizes, folder: Path) -> Compared:
    drawn = draw(sizes)
    rows = [_ours(drawn, sizes, name) for name in _NULLS] + [_windows(test, drawn, sizes) for test in TESTS]
    python, problems = comparators_python(), []
    with ThreadPoolExecutor(PARALLEL) as pool:
        jobs = {
            name: pool.submit(_comparator, python, name, drawn, sizes, folder)
            for name in (*sizes.comparators, *sizes.few)
        }
        for name, job in jobs.items():
            try:
                rows.append(job.result())
            except subprocess.TimeoutExpired:
                problems.append(f"{name}: no end within {COMPARATOR_SECONDS} s")
            except subprocess.CalledProcessError as error:
                problems.append(f"{name}: {error.stderr.strip()[-300:]}")
    defaults, tuned = zip(*rows, strict=True)
    return Compared(defaults, tuple(row for row in tuned if row is not None), sizes, tuple(problems))


def draw(sizes: Sizes) -> Drawn:
    """Every detector sees these."""
    changes, moments = {}, {}
    for after, horizon in (*HORIZONS.items(), (IMPROVED, IMPROVED_HORIZON)):
        chance = generator(EVALUATION, 30, int(1000 * after))
        moments[after] = chance.integers(CHANGE, CHANGE + JITTER, size=sizes.runs)
        steps = np.arange(CHANGE + JITTER + horizon)
        rates = np.where(steps[None, :] < moments[after][:, None], BEFORE, after)
        changes[after] = (chance.random(rates.shape) < rates).astype(np.uint8)
    streams = {
        "tuning": (generator(TUNING, 31).random((sizes.streams, sizes.steps)) < BEFORE).astype(np.uint8),
        "null": (generator(EVALUATION, 31).random((sizes.streams, sizes.steps)) < BEFORE).astype(np.uint8),
    }
    named = streams | {str(after): codes for after, codes in changes.items()}
    references = {
        name: generator(TUNING if name == "tuning" else EVALUATION, 32, number)
        .binomial(REFERENCE, BEFORE, size=len(codes))
        .astype(np.float64)
        for number, (name, codes) in enumerate(named.items())
    }
    return Drawn(streams["tuning"], streams["null"], changes, moments, references)


def tuned(rate_at: Callable[[float], float], low: float, high: float, wanted: float) -> float:
    """The threshold at which false alarms come closest to what is wanted; larger thresholds have fewer."""
    best = (math.inf, low)
    for _ in range(14):
        middle = math.exp((math.log(low) + math.log(high)) / 2)
        rate = rate_at(middle)
        best = min(best, (abs(math.log((rate + 1e-9) / wanted)), middle))
        low, high = (middle, high) if rate > wanted else (low, middle)
    return best[1]


_NULLS: dict[str, Callable[[Floats], Wagers]] = {
    "Stillgate, null known": lambda reference: wagers_of(terms_for(BEFORE)),
    f"Stillgate, null learnt from {REFERENCE:,} pairs": lambda reference: wagers_of(
        [terms_for(wrong / REFERENCE) for wrong in reference]
    ),
    f"Stillgate as shipped: upper bound of {REFERENCE:,} pairs + 1 point": lambda reference: wagers_of(
        [terms_for(upper_bound(int(wrong), REFERENCE, 0.05) + 0.01) for wrong in reference]
    ),
}
OURS = tuple(_NULLS)


def _ours(drawn: Drawn, sizes: Sizes, name: str) -> tuple[Row, Row | None]:
    wagers = {which: _NULLS[name](reference) for which, reference in drawn.references.items()}

    def rate_at(level: float) -> float:
        return _alarms(wagers["tuning"], drawn.tuning, level) / drawn.tuning.size

    def row(level: float) -> Row:
        first = {
            after: first_alarms(new_detectors(wagers[str(after)], len(codes), level), iter([codes.T]))
            for after, codes in drawn.changes.items()
        }
        delays = {after: measured_delays(found, drawn.moments[after]) for after, found in first.items()}
        return Row(
            name, f"A = {level:,.0f}", _alarms(wagers["null"], drawn.null, level), drawn.null.size, delays
        )

    return row(DEFAULT_LEVEL), row(tuned(rate_at, 3.0, 1e8, sizes.rate))


def _alarms(wagers: Wagers, streams: Codes, level: float) -> int:
    return int(alarm_counts(new_detectors(wagers, len(streams), level), iter([streams.T])).sum())


def _windows(test: WindowTest, drawn: Drawn, sizes: Sizes) -> tuple[Row, Row | None]:
    def statistics(codes: Codes, which: str) -> Floats:
        return test.statistics(codes, drawn.references[which], REFERENCE)

    in_tuning, in_null = statistics(drawn.tuning, "tuning"), statistics(drawn.null, "null")

    def row(threshold: float, setting: str) -> Row:
        delays = {
            after: measured_delays(
                first_steps(statistics(codes, str(after)), threshold, test.window), drawn.moments[after]
            )
            for after, codes in drawn.changes.items()
        }
        return Row(test.name, setting, int((in_null > threshold).sum()), drawn.null.size, delays)

    found = tuned(
        lambda threshold: (in_tuning > threshold).sum() / drawn.tuning.size, 1e-4, 100.0, sizes.rate
    )
    return row(test.default, "as named"), row(found, f"threshold {found:.3g}")


def _comparator(python: Path, name: str, drawn: Drawn, sizes: Sizes, folder: Path) -> tuple[Row, Row | None]:
    path, few = folder / f"{name}.npz", name in sizes.few
    part = max(1, sizes.streams // 40) if few else sizes.streams
    runs = max(1, sizes.runs // 20) if few else sizes.runs
    arrays: dict[str, Any] = {str(after): codes[:runs] for after, codes in drawn.changes.items()}
    np.savez(path, tuning=drawn.tuning[:part], null=drawn.null[:part], **arrays)
    ended = subprocess.run(
        [str(python), str(RUNTIME), name, str(path), str(sizes.rate)],
        capture_output=True,
        text=True,
        check=True,
        timeout=COMPARATOR_SECONDS,
    )
    said = json.loads(ended.stdout)
    row = partial(_row, f"{name} ({said['library']})", drawn.moments)
    return row("its defaults", said["default"]), None if few else row(
        f"{said['tuned_to']:.3g}", said["tuned"]
    )


def _row(name: str, moments: Mapping[float, Ints], setting: str, said: Mapping[str, object]) -> Row:
    first = said["first"]
    assert isinstance(first, dict)
    delays = {
        float(after): measured_delays(np.array(found), moments[float(after)][: len(found)])
        for after, found in first.items()
    }
    return Row(
        name,
        setting,
        int(str(said["false_alarms"])),
        int(str(said["updates"])),
        delays,
        float(str(said["microseconds_an_update"])),
    )
