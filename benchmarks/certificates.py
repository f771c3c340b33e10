"""Do certificates keep their promise, and how much traffic do they let through, beside other rules for the same pairs.

Synthetic students whose disagreement is known at every confidence; a certificate is wrong if the true disagreement
above its threshold exceeds what it certified.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from benchmarks.report import Floor, Report, Table
from monitor.calibration import edges
from monitor.certificate import (
    HeldOut,
    lowest_passing,
    lowest_threshold,
    thresholds_of_counts,
    thresholds_of_grid,
)
from monitor.histograms import Bools, Floats, Ints
from monitor.intervals import at_most_p_value, lower_bound, upper_bound
from monitor.sums import COVERAGE_EDGES, SliceSums, Vector

DELTA = 0.1
LEAST_OF_ORACLE = 0.85  # coverage at the largest size
FINE = 100_000  # places at which the true disagreement is known
SLOPE = 1.5  # of confidence over rank: most answers are sure


@dataclass(frozen=True, slots=True)
class Plan:
    repetitions: int = 400
    sizes: tuple[int, ...] = (1_000, 4_000, 20_000)


SHORT = Plan(10, (1_000,))


@dataclass(frozen=True, slots=True)
class Profile:
    """True disagreement by rank of confidence: 0 is the surest answer, 1 the least sure."""

    name: str
    bound: float  # r*, what is to be certified
    at_rank: Floats  # FINE places

    @property
    def above(self) -> Floats:
        """True disagreement of the surest 1, 2, ... FINE places."""
        found: Floats = np.cumsum(self.at_rank) / np.arange(1, FINE + 1)
        return found

    @property
    def oracle(self) -> float:
        """The largest coverage that keeps the bound."""
        return float(np.flatnonzero(self.above <= self.bound)[-1] + 1) / FINE


@dataclass(frozen=True, slots=True)
class Sample:
    """Pairs that a rule gets to see, the surest first."""

    confidence: Floats
    disagrees: Bools

    def held_out(self) -> HeldOut:
        bins = np.searchsorted(np.array(edges(COVERAGE_EDGES)), self.confidence, side="right") - 1
        pairs, disagreements = np.bincount(bins), np.bincount(bins[self.disagrees])
        sums = SliceSums(
            pairs=len(bins),
            agreements=int(len(bins) - self.disagrees.sum()),
            coverage_pairs=_vector(pairs),
            coverage_disagreements=_vector(disagreements),
        )
        answers = zip(self.confidence.tolist(), self.disagrees.tolist(), strict=True)
        return HeldOut(sums, tuple(answers))


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of one rule on every sample of one profile and size."""

    wrong: int
    repetitions: int
    coverage: float  # mean, 0 where nothing was certified

    @property
    def rate(self) -> float:
        return self.wrong / self.repetitions


Rule = Callable[[HeldOut, float], float | None]  # pairs and bound -> threshold, if any
Cell = tuple[str, int]  # profile, size


def profiles() -> tuple[Profile, ...]:
    """Two whose disagreement rises with rank, and one that is low in a window and high at both of its sides."""
    rank = (np.arange(FINE) + 0.5) / FINE
    steep = 0.02 * 2.25 * (rank / 0.523) ** 1.25
    flat = 0.05 * 2 * rank / 0.642
    dip = np.select([rank < 0.1, rank < 0.5], [0.06, 0.002], 0.06 + 0.5 * (rank - 0.5))
    return Profile("steep", 0.02, steep), Profile("flat", 0.05, flat), Profile("dip", 0.02, dip)


def measure(plan: Plan) -> Report:
    found: dict[Cell, dict[str, Outcome]] = {}
    for number, profile in enumerate(profiles()):
        for size in plan.sizes:
            seeds = [np.random.SeedSequence([2026, number, size, one]) for one in range(plan.repetitions)]
            samples = (_sample(profile, size, np.random.default_rng(seed)) for seed in seeds)
            found[profile.name, size] = _outcomes(profile, samples)
            print(f"{profile.name}, {size} pairs", flush=True)
    return report_of(found, {profile.name: profile for profile in profiles()})


def report_of(found: Mapping[Cell, Mapping[str, Outcome]], by_name: Mapping[str, Profile]) -> Report:
    largest = max(size for _, size in found)
    floors = [
        Floor(f"{name}, {size} pairs: share of wrong certificates", outcomes["Stillgate"].rate, DELTA)
        for (name, size), outcomes in found.items()
    ]
    floors += [
        Floor(
            f"{name}, {size} pairs: coverage of the oracle's",
            outcomes["Stillgate"].coverage / by_name[name].oracle,
            LEAST_OF_ORACLE,
            at_least=True,
        )
        for (name, size), outcomes in found.items()
        if size == largest
    ]
    return Report("certificates", (_wrong_table(found), _coverage_table(found, by_name)), tuple(floors))


def _wrong_table(found: Mapping[Cell, Mapping[str, Outcome]]) -> Table:
    rows = tuple(
        (f"{name}, {size} pairs", *(_with_interval(outcome) for outcome in outcomes.values()))
        for (name, size), outcomes in found.items()
    )
    note = f"Promised: at most {DELTA:.0%}. In brackets the exact 95 % interval of the share."
    return Table("Share of wrong certificates", ("", *RULES), rows, note)


def _coverage_table(found: Mapping[Cell, Mapping[str, Outcome]], by_name: Mapping[str, Profile]) -> Table:
    rows = tuple(
        (
            f"{name}, {size} pairs",
            f"{by_name[name].oracle:.3f}",
            *(f"{one.coverage:.3f} ({one.coverage / by_name[name].oracle:.0%})" for one in outcomes.values()),
        )
        for (name, size), outcomes in found.items()
    )
    note = (
        "Mean share of traffic above the threshold, 0 where nothing was certified; in brackets, of the oracle's,"
        " which knows the true disagreement. What a rule gains by being wrong counts here, too."
    )
    return Table("Coverage", ("", "oracle", *RULES), rows, note)


def _with_interval(outcome: Outcome) -> str:
    low = lower_bound(outcome.wrong, outcome.repetitions, 0.025)
    high = upper_bound(outcome.wrong, outcome.repetitions, 0.025)
    return f"{outcome.rate:.1%} ({low:.1%}-{high:.1%})"


def _sample(profile: Profile, size: int, generator: np.random.Generator) -> Sample:
    rank = np.sort(generator.random(size))
    disagrees = generator.random(size) < profile.at_rank[(rank * FINE).astype(np.int64)]
    return Sample(1 - 0.6 * rank**SLOPE, disagrees)


def _outcomes(profile: Profile, samples: Iterable[Sample]) -> dict[str, Outcome]:
    coverages: dict[str, list[float]] = {name: [] for name in RULES}
    for sample in samples:
        held_out = sample.held_out()
        for name, rule in RULES.items():
            coverages[name].append(_true_coverage(rule(held_out, profile.bound)))
    above = profile.above
    return {
        name: Outcome(
            wrong=sum(
                one > 0 and bool(above[min(int(one * FINE), FINE - 1)] > profile.bound) for one in found
            ),
            repetitions=len(found),
            coverage=sum(found) / len(found),
        )
        for name, found in coverages.items()
    }


def _true_coverage(threshold: float | None) -> float:
    """The share of traffic at or above a threshold."""
    if threshold is None:
        return 0.0
    return float(min(1.0, (max(0.0, 1 - threshold) / 0.6) ** (1 / SLOPE)))


def stillgate(held_out: HeldOut, bound: float) -> float | None:
    found = lowest_threshold(held_out, bound, DELTA)
    return found.confidence if found is not None else None


def plug_in(held_out: HeldOut, bound: float) -> float | None:
    """The lowest threshold whose measured disagreement keeps the bound."""
    kept = [
        one for one in thresholds_of_counts(held_out.answers) if one.disagreements <= bound * one.accepted
    ]
    return kept[-1].confidence if kept else None


def bonferroni(held_out: HeldOut, bound: float) -> float | None:
    """The same thresholds, each tested with its part of delta."""
    tried = list(thresholds_of_counts(held_out.answers))
    kept = [
        one for one in tried if at_most_p_value(one.disagreements, one.accepted, bound) <= DELTA / len(tried)
    ]
    return kept[-1].confidence if kept else None


def one_start(held_out: HeldOut, bound: float) -> float | None:
    """Fixed-sequence testing on the grid, from its strictest threshold alone."""
    found = lowest_passing(list(thresholds_of_grid(held_out.sums)), bound, DELTA, starts=1)
    return found.confidence if found is not None else None


def bisection(held_out: HeldOut, bound: float) -> float | None:
    """SGR (Geifman and El-Yaniv 2017) on exact counts: delta over log2(n) probes of a binary search."""
    falling = sorted(held_out.answers, reverse=True)
    disagreements = np.cumsum([disagrees for _, disagrees in falling])
    level = DELTA / math.ceil(math.log2(len(falling) + 1))
    passed, failed = 0, len(falling) + 1
    while failed - passed > 1:
        accepted = (passed + failed) // 2
        if at_most_p_value(int(disagreements[accepted - 1]), accepted, bound) <= level:
            passed = accepted
        else:
            failed = accepted
    return falling[passed - 1][0] if passed else None


def _vector(counts: Ints) -> Vector:
    return tuple((index, count) for index, count in enumerate(counts.tolist()) if count)


RULES: dict[str, Rule] = {
    "Stillgate": stillgate,
    "plug-in": plug_in,
    "Bonferroni": bonferroni,
    "SGR": bisection,
    "one start": one_start,
}
