"""The changes that every detector is shown, and streams drawn for them: tuning, null, and one set for each change."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

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
IMPROVED = Change("to 2 %", 0.02, 5_000)  # for the better: nobody should be woken
EVERY = (*CHANGES, IMPROVED)

COMPARATORS = {  # the fastest to notice first -> the part of the streams and runs that it sees
    "KSWIN": 8,
    "ADWIN for rises": 1,
    "ADWIN": 1,
    "PageHinkley": 2,
    "DDM": 2,
    "EDDM": 2,
    "MAPIE": 4,
    "HDDMA": 8,
    "HDDMW": 1,
}


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is drawn; the rate of false alarms that everything is tuned to, a request."""

    streams: int = 80
    steps: int = 100_000
    runs: int = 600
    runs_of_defaults: int = 120
    rate: float = 1e-5
    parts: Mapping[str, int] = field(default_factory=lambda: dict(COMPARATORS))

    def part(self, name: str) -> "Sizes":
        """What a comparator sees of it."""
        divisor = self.parts[name]
        return replace(
            self,
            streams=max(1, self.streams // divisor),
            runs=max(1, self.runs // divisor),
            runs_of_defaults=max(1, self.runs_of_defaults // divisor),
        )


@dataclass(frozen=True, slots=True)
class Drawn:
    """Streams [streams, steps], and how many pairs of each stream's own reference disagreed."""

    tuning: Codes
    null: Codes
    changes: Mapping[str, Codes]
    moments: Mapping[str, Ints]  # by change, the request at which each run's rate begins to move
    references: Mapping[str, Floats] = field(default_factory=dict)  # "tuning", "null", and by change


def draw(sizes: Sizes) -> Drawn:
    """Every detector sees these. A run has the same quiet requests before each change, so that they are fed once."""
    quiet = {length: _quiet(length, sizes.runs) for length in {change.quiet for change in EVERY}}
    moments = {change.name: quiet[change.quiet][1] for change in EVERY}
    changes = {
        change.name: _changed(change, number, *quiet[change.quiet]) for number, change in enumerate(EVERY)
    }
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


def _quiet(length: int, runs: int) -> tuple[Codes, Ints]:
    """[runs, steps] before any change, and the moment of each run at which it ends."""
    chance = generator(EVALUATION, 33, length)
    moments = chance.integers(length, length + JITTER, size=runs)
    return (chance.random((runs, length + JITTER)) < BEFORE).astype(np.uint8), moments


def _changed(change: Change, number: int, quiet: Codes, moments: Ints) -> Codes:
    rates = change.rates(moments)
    codes = (generator(EVALUATION, 30, number).random(rates.shape) < rates).astype(np.uint8)
    before = np.arange(quiet.shape[1]) < moments[:, None]
    codes[:, : quiet.shape[1]][before] = quiet[before]
    return codes
