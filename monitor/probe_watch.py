"""What probes show of the teacher: each reply beside the first one to the same request, tested pass by pass.

The first passes say how often the teacher disagrees with itself on these very requests. With the exact upper bound of
that and a tolerance as the null, an e-SR detector then takes one tick a pass. Requests of a set differ in how sure
the teacher is of them, and a pass asks each once: by the inequality of the means the product of their bets is then
at most what it would be if all had the mean rate, so that the guarantee holds at the end of every pass.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ledger.configuration import ProbeSection
from ledger.observation import Observation
from ledger.probe_replies import ProbeReply
from ledger.teacher_changes import ChangeKind
from monitor.detector import Detector, new_detector, terms_for, update
from monitor.divergence import total_variation
from monitor.intervals import upper_bound
from monitor.trigger import tick_mass

BASELINE_PASSES = 3  # after the one with the first replies; what they show is the teacher's own noise
BASELINE_ALPHA = 0.05  # that the noise is larger than the bound which the null rests on
MOST_KNOWN = 100  # versions and fingerprints that are told apart
YEAR_SECONDS = 365 * 86_400.0


@dataclass(frozen=True, slots=True)
class Compared:
    """Replies beside their first ones, added up."""

    replies: int = 0
    changed: int = 0  # another label than the first reply's
    variation: float = 0.0  # sum of total variations

    def plus(self, changed: bool, variation: float) -> "Compared":
        return Compared(self.replies + 1, self.changed + changed, self.variation + variation)

    def merged(self, other: "Compared") -> "Compared":
        return Compared(
            self.replies + other.replies, self.changed + other.changed, self.variation + other.variation
        )


@dataclass(frozen=True, slots=True)
class Pass:
    """One way through the set, while it goes on."""

    gateway: str
    began_at_us: int
    referenced: int = 0  # probes that had a first reply before it
    asked: frozenset[int] = frozenset()  # compared so far
    compared: Compared = Compared()


@dataclass(frozen=True, slots=True)
class Change:
    """The teacher changed."""

    kind: ChangeKind
    before: str | None
    after: str | None
    evidence: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ProbeWatch:
    """What is known of one task's teacher from one set."""

    probe_set: str
    since_us: int  # of the first replies that others are compared with
    references: Mapping[int, tuple[Observation, ...]] = field(default_factory=dict)  # by probe
    versions: tuple[str, ...] = ()  # seen so far, the last one last
    fingerprints: tuple[str, ...] = ()
    going_on: Pass | None = None
    last: Pass | None = None  # that has ended
    passes: int = 0  # ended, beyond the first
    baseline: Compared = Compared()
    total: Compared = Compared()  # of all passes that have ended
    failures: int = 0
    detector: Detector | None = None  # once the baseline is known


def watched(
    watch: ProbeWatch | None, reply: ProbeReply, gateway: str, section: ProbeSection
) -> tuple[ProbeWatch, list[Change]]:
    """The watch after one reply, and what this reply shows to have changed."""
    if watch is None or watch.probe_set != reply.probe_set:
        watch = ProbeWatch(reply.probe_set, reply.asked_at_us)
    changes: list[Change] = []
    going_on = watch.going_on
    if going_on is None or (going_on.gateway, going_on.began_at_us) != (gateway, reply.pass_at_us):
        watch, changes = _ended(watch, section)
        watch = replace(watch, going_on=Pass(gateway, reply.pass_at_us, len(watch.references)))
    watch, told = _told(watch, reply)
    if reply.failure is not None:
        return replace(watch, failures=watch.failures + 1), [*changes, *told]
    return _compared(watch, reply), [*changes, *told]


def log_threshold(section: ProbeSection) -> float:
    """log A: restart mass of a year, one a pass, over the false changes allowed in it."""
    return math.log(section.passes_per_day * 365 / section.false_changes_per_year)


def _told(watch: ProbeWatch, reply: ProbeReply) -> tuple[ProbeWatch, list[Change]]:
    """Versions and fingerprints that were never seen before; of a fleet of servers each is told once."""
    changes = []
    versions, fingerprints = watch.versions, watch.fingerprints
    if reply.version is not None and reply.version not in versions:
        changes += [Change(ChangeKind.VERSION, versions[-1], reply.version)] if versions else []
        versions = (*versions, reply.version)[-MOST_KNOWN:]
    if reply.fingerprint is not None and reply.fingerprint not in fingerprints:
        changes += (
            [Change(ChangeKind.FINGERPRINT, fingerprints[-1], reply.fingerprint)] if fingerprints else []
        )
        fingerprints = (*fingerprints, reply.fingerprint)[-MOST_KNOWN:]
    return replace(watch, versions=versions, fingerprints=fingerprints), changes


def _compared(watch: ProbeWatch, reply: ProbeReply) -> ProbeWatch:
    first, going_on = watch.references.get(reply.probe), watch.going_on
    if first is None:
        return replace(watch, references={**watch.references, reply.probe: reply.observations})
    if going_on is None or reply.probe in going_on.asked:
        return watch
    compared = going_on.compared.plus(*_difference(first, reply.observations))
    return replace(watch, going_on=replace(going_on, asked=going_on.asked | {reply.probe}, compared=compared))


def _difference(first: Sequence[Observation], now: Sequence[Observation]) -> tuple[bool, float]:
    """Whether any input's label is another one, and the mean total variation over the inputs.

    An input that only one of the two could answer is changed, by a total variation of 1.
    """
    if len(first) != len(now):
        return True, 1.0
    parts = [_input_difference(a, b) for a, b in zip(first, now, strict=True)]
    return any(changed for changed, _ in parts), math.fsum(part for _, part in parts) / max(1, len(parts))


def _input_difference(first: Observation, now: Observation) -> tuple[bool, float]:
    a, b = first.probabilities, now.probabilities
    if a is None or b is None or len(a) != len(b):
        return (True, 1.0) if a is not b else (False, 0.0)
    return first.top != now.top, total_variation(a, b)


def _ended(watch: ProbeWatch, section: ProbeSection) -> tuple[ProbeWatch, list[Change]]:
    """Count the pass that was going on; what it was not answered counts as unchanged."""
    ended = watch.going_on
    if ended is None or not ended.referenced:
        return watch, []
    counted = replace(
        watch,
        going_on=None,
        last=ended,
        passes=watch.passes + 1,
        total=watch.total.merged(ended.compared),
    )
    if counted.detector is None:
        return _with_baseline(counted, ended.compared, section), []
    detector = _after_pass(counted.detector, watch.last, ended, section)
    if detector.log_wealth < log_threshold(section):
        return replace(counted, detector=detector), []
    return ProbeWatch(watch.probe_set, ended.began_at_us, {}, watch.versions, watch.fingerprints), [
        Change(ChangeKind.ANSWERS, None, None, _evidence(counted, detector, ended))
    ]


def _with_baseline(watch: ProbeWatch, compared: Compared, section: ProbeSection) -> ProbeWatch:
    baseline = watch.baseline.merged(compared)
    if watch.passes < BASELINE_PASSES or not baseline.replies:
        return replace(watch, baseline=baseline)
    noise = upper_bound(baseline.changed, baseline.replies, BASELINE_ALPHA)
    detector = new_detector(terms_for(min(0.99, noise + section.tolerance)))
    return replace(watch, baseline=baseline, detector=detector)


def _after_pass(detector: Detector, before: Pass | None, ended: Pass, section: ProbeSection) -> Detector:
    """A pass that follows faster than planned, as after a restart, gets less restart mass."""
    elapsed = None if before is None else (ended.began_at_us - before.began_at_us) / 1e6
    mass = tick_mass(elapsed, section.every_hours * 3600)
    counts = ended.referenced - ended.compared.changed, ended.compared.changed
    return update(detector, mass, counts, ended.began_at_us)


def _evidence(watch: ProbeWatch, detector: Detector, ended: Pass) -> dict[str, Any]:
    compared, noise = ended.compared, watch.baseline
    return {
        "pass_at_us": ended.began_at_us,
        "replies": compared.replies,
        "changed": compared.changed,
        "mean_variation": compared.variation / compared.replies if compared.replies else None,
        "baseline_replies": noise.replies,
        "baseline_changed": noise.changed,
        "null": detector.terms.m0,
        "log_wealth": detector.log_wealth,
        "change_us": detector.change_us,
        "since_us": watch.since_us,
    }
