"""Mixture e-SR detector of one stream of losses in [0, 1], after Shin, Ramdas and Rinaldo (e-detectors).

A tick multiplies each component's wealth by what a bet that the mean loss lies above the null m0 makes of the
tick's counts, after adding a restart mass r fixed before the counts are seen. Wealth is kept as a logarithm. For
any dependence between streams, the expected number of false alarms up to any stopping time is at most (restart
mass spent until then) / A, where an alarm is a mean wealth of at least A.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

BETS = 8
HISTORY = 64  # ticks kept for the receipt; older ones are folded into the standing that it begins with
HISTORY_OF_BINS = 24  # the same where losses are more than 0 and 1, so that a state stays as small
LEAST_NULL = 1e-6  # keeps the bets finite
DISAGREEMENT = (0.0, 1.0)  # losses of an input on which the two agree, and of one on which they do not


class Tick(NamedTuple):
    """What one tick showed."""

    mass: float  # restart mass
    at_us: int  # start of its earliest exchange
    counts: tuple[int, ...]  # distinct inputs by loss


class Standing(NamedTuple):
    """Where the bets stand between two ticks."""

    log_wealth_by_bet: tuple[float, ...]
    log_cusum_by_bet: tuple[float, ...]  # locates the change: restarts whenever the evidence is used up
    restarted_us: tuple[int, ...]  # by bet: start of the first tick since log_cusum last restarted

    @property
    def log_wealth(self) -> float:
        """log of the mean wealth over the bets."""
        return log_mean(self.log_wealth_by_bet)

    @property
    def change_us(self) -> int:
        """Where the stream seems to have changed: the last restart of the strongest e-CUSUM component."""
        strongest = max(range(len(self.restarted_us)), key=self.log_cusum_by_bet.__getitem__)
        return self.restarted_us[strongest]


@dataclass(frozen=True, slots=True)
class Terms:
    """What a stream's detector bets against, and how."""

    m0: float  # the null: the mean loss is at most this
    bets: tuple[float, ...]
    losses: tuple[float, ...] = DISAGREEMENT  # of each count; a bin of losses stands for its lower edge

    def log_evidence(self, counts: Sequence[int]) -> list[float]:
        """By bet, the log of what it makes of these counts."""
        return [
            sum(count * factor for count, factor in zip(counts, factors, strict=True))
            for factors in _log_factors(self)
        ]


@dataclass(frozen=True, slots=True)
class Detector:
    """State of one stream since its last reset; every change makes a new one."""

    terms: Terms
    standing: Standing
    owed_mass: float  # restart mass of ticks without inputs, which change nothing else
    start: Standing  # before the first tick of `ticks`
    ticks: tuple[Tick, ...]
    totals: tuple[int, ...]  # counts since the reset

    @property
    def log_wealth(self) -> float:
        return self.standing.log_wealth

    @property
    def change_us(self) -> int | None:
        """None before the first input."""
        return self.standing.change_us if self.inputs else None

    @property
    def inputs(self) -> int:
        return sum(self.totals)

    @property
    def mean_loss(self) -> float | None:
        """Of these inputs; None before the first."""
        total = math.fsum(n * loss for n, loss in zip(self.totals, self.terms.losses, strict=True))
        return total / self.inputs if self.inputs else None


def bets_for(m0: float) -> tuple[float, ...]:
    """Bets tuned to a geometric range of harms above the null, from a quarter of it to four and a half times it.

    To 15 points at least and to a half at most. Beyond that range little is lost, since large harms are seen at
    once with any of these bets, and the moderate ones, which need many inputs, get more of the eight.
    """
    greatest = min(0.5, max(4.5 * m0, 0.15), 0.9 * (1 - m0))
    least = min(0.25 * m0, greatest / 2)
    ratio = (greatest / least) ** (1 / (BETS - 1))
    return tuple(min(least * ratio**index, greatest) / (1 - m0) for index in range(BETS))


def terms_for(m0: float, losses: Sequence[float] = DISAGREEMENT) -> Terms:
    """The terms that belong to a null. Raises ValueError for one outside (0, 1)."""
    if not 0 < m0 < 1:
        raise ValueError(f"the null {m0} must lie between 0 and 1, or nothing could contradict it")
    m0 = max(m0, LEAST_NULL)
    return Terms(m0, bets_for(m0), tuple(losses))


def new_detector(terms: Terms) -> Detector:
    """A detector that has seen nothing."""
    nothing = fresh_standing(terms)
    return Detector(terms, nothing, 0.0, nothing, (), (0,) * len(terms.losses))


def fresh_standing(terms: Terms) -> Standing:
    broke = (-math.inf,) * len(terms.bets)
    return Standing(broke, broke, (0,) * len(terms.bets))


def update(detector: Detector, mass: float, counts: Sequence[int], at_us: int) -> Detector:
    """One tick: distinct inputs by loss, the earliest of them at `at_us`."""
    mass += detector.owed_mass
    if not any(counts):
        return replace(detector, owed_mass=mass)
    tick = Tick(mass, at_us, tuple(counts))
    return _shortened(
        replace(
            detector,
            standing=after_tick(detector.standing, detector.terms, tick),
            owed_mass=0.0,
            ticks=(*detector.ticks, tick),
            totals=tuple(total + count for total, count in zip(detector.totals, counts, strict=True)),
        )
    )


def after_tick(standing: Standing, terms: Terms, tick: Tick) -> Standing:
    """Where the bets stand after one tick; computing an alarm again runs exactly this."""
    log_mass = math.log(tick.mass) if tick.mass > 0 else -math.inf
    evidence = terms.log_evidence(tick.counts)
    wealth, cusum, since = standing
    return Standing(
        tuple(_log_add(w, log_mass) + e for w, e in zip(wealth, evidence, strict=True)),
        tuple(max(c, 0.0) + e for c, e in zip(cusum, evidence, strict=True)),
        tuple(tick.at_us if c <= 0 else at_us for c, at_us in zip(cusum, since, strict=True)),
    )


def log_mean(logs: Sequence[float]) -> float:
    """log of the mean of exp(logs)."""
    greatest = max(logs)
    if greatest == -math.inf:
        return greatest
    return greatest + math.log(math.fsum(math.exp(value - greatest) for value in logs) / len(logs))


def lower_edges(bins: int) -> tuple[float, ...]:
    """Losses of equal bins of [0, 1], each rounded down to its lower edge: what is lost is power, not validity."""
    return tuple(index / bins for index in range(bins))


@lru_cache(maxsize=4096)
def _log_factors(terms: Terms) -> tuple[tuple[float, ...], ...]:
    """By bet and loss, the log of what the bet makes of one such input."""
    return tuple(
        tuple(math.log1p(bet * (loss / terms.m0 - 1)) for loss in terms.losses) for bet in terms.bets
    )


def _log_add(a: float, b: float) -> float:
    """log(exp(a) + exp(b))."""
    high, low = max(a, b), min(a, b)
    return high if low == -math.inf else high + math.log1p(math.exp(low - high))


def _shortened(detector: Detector) -> Detector:
    """Fold the older half of an overlong history into the standing that the rest begins with."""
    most = HISTORY if len(detector.terms.losses) == len(DISAGREEMENT) else HISTORY_OF_BINS
    if len(detector.ticks) <= most:
        return detector
    start = detector.start
    for tick in detector.ticks[: most // 2]:
        start = after_tick(start, detector.terms, tick)
    return replace(detector, start=start, ticks=detector.ticks[most // 2 :])
