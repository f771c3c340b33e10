"""The changes that every detector is shown, and streams drawn for them: tuning, null, and one set for each change."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from benchmarks.detectors.kernel import Codes, Floats, Ints
from benchmarks.detectors.streams import EVALUATION, TUNING, generator

BEFORE = 0.05
JITTER = 1_000  # requests by which a change comes later, so that it is not at the end of a window
REFERENCE = 10_000  # pairs that windows compare with, and that the learnt null comes from


@dataclass(frozen=True, slots=True)
class Change:
    """From 5 % to another rate, after quiet requests."""

    name: str
    after: float
    horizon: int  # requests that a detector has for it
    quiet: int = 10_000
    ramp: int = 0  # requests that the change takes

    @property
    def is_abrupt(self) -> bool:
        return not self.ramp

    @property
    def steps(self) -> int:
        return self.quiet + JITTER + self.horizon

    def rates(self, moments: Ints) -> Floats:
        """[runs, steps], of runs that change at these requests."""
        beyond = np.arange(self.steps)[None, :] - moments[:, None]
        share = np.clip(beyond / self.ramp, 0.0, 1.0) if self.ramp else (beyond >= 0).astype(np.float64)
        rates: Floats = BEFORE + (self.after - BEFORE) * share
        return rates


CHANGES = (
    Change("to 6 %", 0.06, 20_000),
    Change("to 8 %", 0.08, 20_000),
    Change("to 10 %", 0.10, 15_000),
    Change("to 15 %", 0.15, 8_000),
    Change("to 25 %", 0.25, 5_000),
    Change("to 10 % after 1,000", 0.10, 15_000, quiet=1_000),
    Change("to 15 % over 1,000", 0.15, 9_000, ramp=1_000),
    Change("to 15 % over 10,000", 0.15, 18_000, ramp=10_000),
)
IMPROVED = Change("to 2 %", 0.02, 10_000)  # for the better: nobody should be woken
EVERY = (*CHANGES, IMPROVED)


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is drawn; the rate of false alarms that everything is tuned to, a request."""

    streams: int = 40
    steps: int = 100_000
    runs: int = 400
    runs_of_defaults: int = 100
    rate: float = 1e-5
    comparators: tuple[str, ...] = (  # slowest first
        "HDDMW",
        "HDDMA",
        "KSWIN",
        "PageHinkley",
        "DDM",
        "PageHinkley told of 10 %",
        "EDDM",
        "ADWIN, rises alone",
        "ADWIN",
        "MAPIE",
    )
    halves: tuple[str, ...] = ("KSWIN",)  # slow: on the first half of the streams, a quarter of the runs


@dataclass(frozen=True, slots=True)
class Drawn:
    """Streams [streams, steps], and how many pairs of each stream's own reference disagreed."""

    tuning: Codes
    null: Codes
    changes: Mapping[str, Codes]
    moments: Mapping[str, Ints]  # by change, the request at which each run's rate begins to move
    references: Mapping[str, Floats] = field(default_factory=dict)  # "tuning", "null", and by change


def draw(sizes: Sizes) -> Drawn:
    """Every detector sees these."""
    changes, moments = {}, {}
    for number, change in enumerate(EVERY):
        chance = generator(EVALUATION, 30, number)
        moments[change.name] = chance.integers(change.quiet, change.quiet + JITTER, size=sizes.runs)
        rates = change.rates(moments[change.name])
        changes[change.name] = (chance.random(rates.shape) < rates).astype(np.uint8)
    tuning, null = (
        (generator(purpose, 31).random((sizes.streams, sizes.steps)) < BEFORE).astype(np.uint8)
        for purpose in (TUNING, EVALUATION)
    )
    named = {"tuning": tuning, "null": null, **changes}
    references = {
        name: generator(TUNING if name == "tuning" else EVALUATION, 32, number)
        .binomial(REFERENCE, BEFORE, size=len(codes))
        .astype(np.float64)
        for number, (name, codes) in enumerate(named.items())
    }
    return Drawn(tuning, null, changes, moments, references)
