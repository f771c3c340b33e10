"""Mixture e-SR detector of one stream of 0/1 disagreements, after Shin, Ramdas and Rinaldo (e-detectors).

A tick multiplies each component's wealth by the likelihood of its counts under a bet that the disagreement
lies above the null m0, after adding a restart mass r fixed before the counts are seen. Wealth is kept as a
logarithm. For any dependence between streams, the expected number of false alarms up to any stopping time is
at most (restart mass spent until then) / A, where an alarm is a mean wealth of at least A.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

BETS = 8
HISTORY = 512  # ticks kept for the receipt; older ones are folded into its starting wealth
LEAST_NULL = 1e-6  # keeps the bets finite

Tick = tuple[float, int, int]  # restart mass, distinct inputs, disagreements


@dataclass(frozen=True, slots=True)
class Detector:
    """State of one stream since its last reset; every change makes a new one."""

    m0: float  # the null: disagreement is at most this
    bets: tuple[float, ...]
    log_wealth_by_bet: tuple[float, ...]
    log_cusum_by_bet: tuple[float, ...]  # locates the change: restarts whenever the evidence is used up
    restarted_us: tuple[int, ...]  # by bet: start of the first tick since log_cusum last restarted
    owed_mass: float  # restart mass of ticks without inputs, which change nothing else
    start: tuple[float, ...]  # log_wealth_by_bet before the first tick of `ticks`
    ticks: tuple[Tick, ...]
    inputs: int  # since the reset, as are the disagreements
    disagreements: int

    @property
    def log_wealth(self) -> float:
        """log of the mean wealth over the bets."""
        return log_mean(self.log_wealth_by_bet)

    @property
    def change_us(self) -> int | None:
        """Where the stream seems to have changed: the last restart of the strongest e-CUSUM component."""
        if not self.inputs:
            return None
        strongest = max(range(len(self.bets)), key=self.log_cusum_by_bet.__getitem__)
        return self.restarted_us[strongest]


def bets_for(m0: float) -> tuple[float, ...]:
    """Bets tuned to a geometric range of harms above the null, from a fifth of it to a half."""
    greatest = min(0.5, 0.9 * (1 - m0))
    least = min(0.2 * m0, greatest / 2)
    ratio = (greatest / least) ** (1 / (BETS - 1))
    return tuple(min(least * ratio**index, greatest) / (1 - m0) for index in range(BETS))


def new_detector(m0: float, bets: Sequence[float] | None = None) -> Detector:
    """A detector that has seen nothing. Raises ValueError for a null outside (0, 1)."""
    if not 0 < m0 < 1:
        raise ValueError(f"the null disagreement {m0} must lie between 0 and 1")
    m0 = max(m0, LEAST_NULL)
    chosen = tuple(bets) if bets is not None else bets_for(m0)
    broke = (-math.inf,) * len(chosen)
    return Detector(m0, chosen, broke, broke, (0,) * len(chosen), 0.0, broke, (), 0, 0)


def update(detector: Detector, mass: float, inputs: int, disagreements: int, at_us: int) -> Detector:
    """One tick: `disagreements` of `inputs`, the earliest of them at `at_us`."""
    if inputs == 0:
        return replace(detector, owed_mass=detector.owed_mass + mass)
    tick = (detector.owed_mass + mass, inputs, disagreements)
    evidence = _log_evidence(detector.m0, detector.bets, inputs, disagreements)
    cusum = detector.log_cusum_by_bet
    return _shortened(
        replace(
            detector,
            log_wealth_by_bet=after_tick(detector.log_wealth_by_bet, detector.m0, detector.bets, tick),
            log_cusum_by_bet=tuple(max(c, 0.0) + e for c, e in zip(cusum, evidence, strict=True)),
            restarted_us=tuple(
                at_us if c <= 0 else since for c, since in zip(cusum, detector.restarted_us, strict=True)
            ),
            owed_mass=0.0,
            ticks=(*detector.ticks, tick),
            inputs=detector.inputs + inputs,
            disagreements=detector.disagreements + disagreements,
        )
    )


def after_tick(wealth: Sequence[float], m0: float, bets: Sequence[float], tick: Tick) -> tuple[float, ...]:
    """Log-wealth by bet after one tick; replaying a receipt runs exactly this."""
    mass, inputs, disagreements = tick
    log_mass = math.log(mass) if mass > 0 else -math.inf
    evidence = _log_evidence(m0, bets, inputs, disagreements)
    return tuple(_log_add(w, log_mass) + e for w, e in zip(wealth, evidence, strict=True))


def log_mean(logs: Sequence[float]) -> float:
    """log of the mean of exp(logs)."""
    greatest = max(logs)
    if greatest == -math.inf:
        return greatest
    return greatest + math.log(math.fsum(math.exp(value - greatest) for value in logs) / len(logs))


def to_json(detector: Detector) -> dict[str, Any]:
    """Python writes floats so that they read back bit for bit; -inf has no JSON form and becomes null."""
    return {
        "m0": detector.m0,
        "bets": list(detector.bets),
        "log_wealth_by_bet": finite_or_none(detector.log_wealth_by_bet),
        "log_cusum_by_bet": finite_or_none(detector.log_cusum_by_bet),
        "restarted_us": list(detector.restarted_us),
        "owed_mass": detector.owed_mass,
        "start": finite_or_none(detector.start),
        "ticks": [list(tick) for tick in detector.ticks],
        "inputs": detector.inputs,
        "disagreements": detector.disagreements,
    }


def from_json(document: Mapping[str, Any]) -> Detector:
    return Detector(
        m0=document["m0"],
        bets=tuple(document["bets"]),
        log_wealth_by_bet=none_as_zero_wealth(document["log_wealth_by_bet"]),
        log_cusum_by_bet=none_as_zero_wealth(document["log_cusum_by_bet"]),
        restarted_us=tuple(document["restarted_us"]),
        owed_mass=document["owed_mass"],
        start=none_as_zero_wealth(document["start"]),
        ticks=tuple((mass, inputs, disagreements) for mass, inputs, disagreements in document["ticks"]),
        inputs=document["inputs"],
        disagreements=document["disagreements"],
    )


def finite_or_none(logs: Sequence[float]) -> list[float | None]:
    return [value if math.isfinite(value) else None for value in logs]


def none_as_zero_wealth(logs: Sequence[float | None]) -> tuple[float, ...]:
    return tuple(-math.inf if value is None else value for value in logs)


def _log_evidence(m0: float, bets: Sequence[float], inputs: int, disagreements: int) -> list[float]:
    """By bet, the log of what it makes of these counts."""
    return [
        disagreements * math.log1p(bet * (1 / m0 - 1)) + (inputs - disagreements) * math.log1p(-bet)
        for bet in bets
    ]


def _log_add(a: float, b: float) -> float:
    """log(exp(a) + exp(b))."""
    high, low = max(a, b), min(a, b)
    return high if low == -math.inf else high + math.log1p(math.exp(low - high))


def _shortened(detector: Detector) -> Detector:
    """Fold the older half of an overlong history into the starting wealth."""
    if len(detector.ticks) <= HISTORY:
        return detector
    start = detector.start
    for tick in detector.ticks[: HISTORY // 2]:
        start = after_tick(start, detector.m0, detector.bets, tick)
    return replace(detector, start=start, ticks=detector.ticks[HISTORY // 2 :])
