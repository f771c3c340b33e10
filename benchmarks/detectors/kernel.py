"""The shipped detector over many streams at once: its recursion in numpy, one row a stream.

tests/benchmarks/test_detectors.py holds it against monitor.detector, alarm by alarm.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from monitor.detector import Terms

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int64]

BLOCK = 1000  # steps whose losses are drawn at once
CORES = os.cpu_count() or 1  # that cells are measured on


@dataclass(frozen=True, slots=True)
class Wagers:
    """What each bet makes of each loss: [losses, bets] for all streams, or [streams, losses, bets]."""

    factors: Floats

    @property
    def bets(self) -> int:
        return int(self.factors.shape[-1])

    def evidence(self, codes: Codes) -> Floats:
        """[streams, bets] of one input for each stream, whose losses are given by their index."""
        if self.factors.ndim == 2:
            return self.factors[codes]
        return self.factors[np.arange(len(codes)), codes]

    def of_counts(self, counts: Ints) -> Floats:
        """[streams, bets] of a tick's counts, [streams, losses]."""
        evidence: Floats = np.exp(counts @ np.log(self.factors))
        return evidence


def wagers_of(terms: Terms | Sequence[Terms]) -> Wagers:
    """Of one stream's terms for all, or of each stream's own."""
    if isinstance(terms, Terms):
        return Wagers(_factors(terms))
    return Wagers(np.stack([_factors(each) for each in terms]))


def oracle_wagers(before: float, after: float) -> Wagers:
    """The likelihood ratio of a rate that rises from `before` to `after`: what only an oracle can bet."""
    return Wagers(np.array([[(1 - after) / (1 - before)], [after / before]]))


@dataclass(slots=True)
class Detectors:
    """The wealth of many streams. Each step may alarm; a stream that does begins anew."""

    wagers: Wagers
    level: float
    wealth: Floats  # [streams, bets]

    def step(self, evidence: Floats, mass: float = 1.0) -> npt.NDArray[np.bool_]:
        """One tick with its evidence, [streams, bets]; which streams alarm."""
        self.wealth += mass
        self.wealth *= evidence
        alarms: npt.NDArray[np.bool_] = self.wealth.sum(axis=1) >= self.level * self.wagers.bets
        if alarms.any():
            self.wealth[alarms] = 0.0
        return alarms


def new_detectors(wagers: Wagers, streams: int, level: float) -> Detectors:
    return Detectors(wagers, level, np.zeros((streams, wagers.bets)))


def alarm_counts(detectors: Detectors, blocks: Iterator[Codes], mass: float = 1.0) -> Ints:
    """Alarms by stream over blocks of losses, [steps, streams]."""
    found = np.zeros(len(detectors.wealth), dtype=np.int64)
    for block in blocks:
        for codes in block:
            found += detectors.step(detectors.wagers.evidence(codes), mass)
    return found


def first_alarms(detectors: Detectors, blocks: Iterator[Codes]) -> Ints:
    """By stream the step, from 1, of the first alarm; 0 where there was none."""
    first = np.zeros(len(detectors.wealth), dtype=np.int64)
    step = 0
    for block in blocks:
        for codes in block:
            step += 1
            alarms = detectors.step(detectors.wagers.evidence(codes))
            if alarms.any():
                first[alarms & (first == 0)] = step
        if first.all():
            break
    return first


def _factors(terms: Terms) -> Floats:
    bets, losses = np.array(terms.bets), np.array(terms.losses)
    factors: Floats = 1 + bets[None, :] * (losses[:, None] / terms.m0 - 1)
    return factors
