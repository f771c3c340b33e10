"""Streams of losses with known truth. Tuning and evaluation draw from seeds that never meet."""

from collections.abc import Callable, Iterator

import numpy as np

from benchmarks.detectors.kernel import BLOCK, Codes, Floats

BINS = 64
EVALUATION, TUNING = 3, 2  # first word of every seed; the detector's bets were chosen on streams of 1 and 2

Rate = Callable[[int], float]  # step -> disagreement


def generator(purpose: int, *words: int) -> np.random.Generator:
    return np.random.default_rng([purpose, *words])


def bernoulli(chance: np.random.Generator, streams: int, steps: int, rate: float | Rate) -> Iterator[Codes]:
    """Blocks [steps, streams] of 0 and 1."""
    for start in range(0, steps, BLOCK):
        length = min(BLOCK, steps - start)
        rates: Floats | float = rate if isinstance(rate, float) else _column(rate, start, length)
        yield (chance.random((length, streams)) < rates).astype(np.uint8)


def beta(chance: np.random.Generator, streams: int, steps: int, a: float, b: float) -> Iterator[Codes]:
    """Losses in [0, 1], by the index of their bin."""
    for start in range(0, steps, BLOCK):
        losses = chance.beta(a, b, size=(min(BLOCK, steps - start), streams))
        yield np.minimum(losses * BINS, BINS - 1).astype(np.uint8)


def abrupt(before: float, after: float, change: int) -> Rate:
    return lambda step: before if step < change else after


def ramp(before: float, after: float, change: int, length: int) -> Rate:
    return lambda step: before + (after - before) * min(1.0, max(0, step - change) / length)


def diurnal(low: float, high: float, period: int) -> Rate:
    """A day of `period` requests, between two rates."""
    middle, half = (low + high) / 2, (high - low) / 2
    return lambda step: middle + half * float(np.sin(2 * np.pi * step / period))


def _column(rate: Rate, start: int, length: int) -> Floats:
    return np.array([rate(step) for step in range(start, start + length)])[:, None]
