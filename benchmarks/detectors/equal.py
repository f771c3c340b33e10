"""Our detector beside other people's on the same streams: as they come, and all tuned to equally many false alarms."""

import math
import subprocess
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.special import gammaincinv

from benchmarks import packages
from benchmarks.detectors import comparators
from benchmarks.detectors.changes import BEFORE, REFERENCE, Change, Drawn, Sizes, draw
from benchmarks.detectors.delays import Delays, measured_delays
from benchmarks.detectors.kernel import (
    CORES,
    Codes,
    Floats,
    Ints,
    Wagers,
    alarm_counts,
    first_alarms,
    new_detectors,
    wagers_of,
)
from benchmarks.detectors.windows import TESTS, WindowTest, first_steps
from monitor.detector import terms_for
from monitor.intervals import upper_bound

TRIES = 11  # halvings of a threshold's range
ONE_STANDARD_ERROR = (
    0.16  # the upper bound that so many references lie above: with the share itself half would
)
DEFAULT_LEVEL = 259_200.0  # A of one false alarm in 30 days of ticks of 10 s


@dataclass(frozen=True, slots=True)
class Row:
    """One detector at one setting."""

    name: str
    setting: str
    false_alarms: Ints  # by null stream
    steps: int  # of each
    delays: Mapping[str, Delays]  # by change
    in_tuning: float | None = None  # false alarms a request on the streams that it was tuned on
    microseconds: float | None = None

    @property
    def rate(self) -> float:
        """False alarms a request."""
        return float(self.false_alarms.mean()) / self.steps

    @property
    def rates(self) -> tuple[float, float]:
        """95 % interval: exact for a Poisson count; wider where a stream's alarms come in clusters."""
        variance = float(self.false_alarms.var(ddof=1)) if len(self.false_alarms) > 1 else 0.0
        clusters = max(1.0, variance / max(float(self.false_alarms.mean()), 1e-9))
        low, high = poisson_interval(float(self.false_alarms.sum()) / clusters)
        updates = self.steps * len(self.false_alarms)
        return low * clusters / updates, high * clusters / updates

    def median(self, change: Change) -> float | None:
        return self.delays[change.name].quantile(0.5)

    def is_as_quiet_as(self, other: "Row") -> bool:
        """Whether its false alarms may be no more than those of the other: the intervals meet, or it has fewer."""
        return self.rates[0] <= other.rates[1]


@dataclass(frozen=True, slots=True)
class Compared:
    default: tuple[Row, ...]
    tuned: tuple[Row, ...]
    sizes: Sizes
    problems: tuple[str, ...]


def compared(sizes: Sizes, folder: Path) -> Compared:
    drawn, python = draw(sizes), packages.detectors()
    path = comparators.written(drawn, folder)
    with ThreadPoolExecutor(CORES) as pool:
        jobs = {
            name: pool.submit(comparators.said_by, python, name, path, sizes.part(name))
            for name in sizes.parts
        }
        default = [_ours(drawn, sizes, name, DEFAULT_LEVEL) for name in _NULLS]
        default += [_window(drawn, sizes, test, test.default, "as named") for test in TESTS]
        tuned = [_ours_tuned(drawn, sizes, name) for name in _NULLS]
        tuned += [_window_tuned(drawn, sizes, test) for test in TESTS]
        problems = tuple(f"{name}: {problem}" for name, job in jobs.items() if (problem := _problem(job)))
    for name in (name for name, job in jobs.items() if not job.exception()):
        for rows, which in ((default, "default"), (tuned, "tuned")):
            rows += _theirs(drawn, name, jobs[name].result(), which)
    return Compared(tuple(default), tuple(tuned), sizes, problems)


def _problem(job: Future[comparators.Said]) -> str:
    error = job.exception()
    match error:
        case None:
            return ""
        case subprocess.TimeoutExpired():
            return f"no end within {comparators.SECONDS} s"
        case subprocess.CalledProcessError():
            return f"ended with {error.returncode}: {str(error.stderr).strip()[-300:]}"
    raise error


def tuned_threshold(alarms_at: Callable[[float], int], low: float, high: float, allowed: float) -> float:
    """The lowest threshold found that has at most so many false alarms, else the highest; higher ones have fewer."""
    best = high
    for _ in range(TRIES):
        middle = math.exp((math.log(low) + math.log(high)) / 2)
        if alarms_at(middle) <= allowed:
            high = best = middle
        else:
            low = middle
    return best


def poisson_interval(count: float) -> tuple[float, float]:
    """Exact 95 % interval of a Poisson mean."""
    low = 0.0 if count == 0 else float(gammaincinv(count, 0.025))
    return low, float(gammaincinv(count + 1, 0.975))


_NULLS: dict[str, Callable[[Floats], Wagers]] = {
    "Stillgate, null known": lambda reference: wagers_of(terms_for(BEFORE)),
    f"Stillgate, null learnt from {REFERENCE:,} pairs": lambda reference: wagers_of(
        [terms_for(upper_bound(int(wrong), REFERENCE, ONE_STANDARD_ERROR)) for wrong in reference]
    ),
    f"Stillgate as shipped: upper bound of {REFERENCE:,} pairs + 1 point": lambda reference: wagers_of(
        [terms_for(upper_bound(int(wrong), REFERENCE, 0.05) + 0.01) for wrong in reference]
    ),
}
OURS = tuple(_NULLS)


def _ours_tuned(drawn: Drawn, sizes: Sizes, name: str) -> Row:
    wagers = _NULLS[name](drawn.references["tuning"])

    def alarms_at(level: float) -> int:
        return int(_alarms(wagers, drawn.tuning, level).sum())

    level = tuned_threshold(alarms_at, 300.0, 1e7, sizes.rate * drawn.tuning.size)
    return _ours(drawn, sizes, name, level, sizes.runs, alarms_at(level) / drawn.tuning.size)


def _ours(
    drawn: Drawn,
    sizes: Sizes,
    name: str,
    level: float,
    runs: int | None = None,
    in_tuning: float | None = None,
) -> Row:
    runs = sizes.runs_of_defaults if runs is None else runs

    def first(change: str, codes: Codes) -> Ints:
        wagers = _NULLS[name](drawn.references[change][: len(codes)])
        return first_alarms(new_detectors(wagers, len(codes), level), iter([codes.T]))

    false_alarms = _alarms(_NULLS[name](drawn.references["null"]), drawn.null, level)
    delays = _delays(drawn, {change: first(change, codes[:runs]) for change, codes in drawn.changes.items()})
    return Row(name, f"A = {level:,.0f}", false_alarms, drawn.null.shape[1], delays, in_tuning)


def _alarms(wagers: Wagers, streams: Codes, level: float) -> Ints:
    return alarm_counts(new_detectors(wagers, len(streams), level), iter([streams.T]))


def _window_tuned(drawn: Drawn, sizes: Sizes, test: WindowTest) -> Row:
    statistics = test.statistics(drawn.tuning, drawn.references["tuning"], REFERENCE)

    def alarms_at(threshold: float) -> int:
        return int((statistics > threshold).sum())

    threshold = tuned_threshold(alarms_at, 1e-3, 30.0, sizes.rate * drawn.tuning.size)
    in_tuning = alarms_at(threshold) / drawn.tuning.size
    return _window(drawn, sizes, test, threshold, f"threshold {threshold:.3g}", sizes.runs, in_tuning)


def _window(
    drawn: Drawn,
    sizes: Sizes,
    test: WindowTest,
    threshold: float,
    setting: str,
    runs: int | None = None,
    in_tuning: float | None = None,
) -> Row:
    runs = sizes.runs_of_defaults if runs is None else runs

    def first(change: str, codes: Codes) -> Ints:
        statistics = test.statistics(codes, drawn.references[change][: len(codes)], REFERENCE)
        return first_steps(statistics, threshold, test.window)

    in_null = test.statistics(drawn.null, drawn.references["null"], REFERENCE) > threshold
    delays = _delays(drawn, {change: first(change, codes[:runs]) for change, codes in drawn.changes.items()})
    return Row(test.name, setting, in_null.sum(axis=1), drawn.null.shape[1], delays, in_tuning)


def _theirs(drawn: Drawn, name: str, said: comparators.Said, which: str) -> list[Row]:
    """One row, or none for a detector without defaults."""
    seen = said.get(which)
    if seen is None:
        return []
    delays = _delays(drawn, {change: np.array(first) for change, first in seen["first"].items()})
    setting, in_tuning = (
        (f"{said['tuned_to']:.3g}", said["in_tuning"]) if which == "tuned" else ("its defaults", None)
    )
    alarms = np.array(seen["false_alarms"])
    full = f"{name} ({said['library']})"
    return [Row(full, setting, alarms, seen["steps"], delays, in_tuning, said["microseconds"])]


def _delays(drawn: Drawn, first: Mapping[str, Ints]) -> dict[str, Delays]:
    return {
        change: measured_delays(found, drawn.moments[change][: len(found)]) for change, found in first.items()
    }
