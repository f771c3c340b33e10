"""What a task's false-alarm budget means: its level, the null of each slice, and how soon shifts would be noticed."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from sqlmodel import Session, col, func, select

from ledger.configuration import MonitorSection, TaskSection
from ledger.tables import SumsRow
from monitor.delay import expected_ticks
from monitor.detector import Terms
from monitor.reports import WHOLE_LIFE, in_order, merged_sums
from monitor.sums import SliceSums
from monitor.trigger import Stream, log_threshold, stream_masses
from monitor.watch import Watched, kept

SHIFTS = (0.02, 0.05, 0.10, 0.20)  # rises of the disagreement, as shares of the answers


@dataclass(frozen=True, slots=True)
class Delay:
    """How long a rise of the disagreement stays unnoticed, on average."""

    shift: float
    requests: float | None  # of the slice; None: such a rise never alarms
    hours: float | None  # at the slice's traffic; None: never, or no traffic was measured


@dataclass(frozen=True, slots=True)
class SliceOutlook:
    """One slice of one student."""

    artifact: str
    slice: str
    m0: float
    null_source: str
    null_reason: str
    rate: float  # the disagreement that the shifts rise from
    rate_source: str  # gate, live, null
    pairs: int
    pairs_an_hour: float | None
    delays: tuple[Delay, ...]


@dataclass(frozen=True, slots=True)
class Outlook:
    """One task."""

    task: str
    false_alarms: float
    period_days: float
    tick_seconds: float
    tolerance: float
    level: float  # A: the wealth at which a detector alarms
    log_level: float
    mass_a_period: float
    mass_a_tick_by_slice: float | None  # None while nothing is watched
    slices: tuple[SliceOutlook, ...]

    def plain(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Traffic:
    """What was measured of one slice so far."""

    pairs: int = 0
    disagreements: int = 0
    hours: float = 0.0  # in which any slice of the student had pairs

    @property
    def pairs_an_hour(self) -> float | None:
        return self.pairs / self.hours if self.pairs else None


def planned(task: TaskSection, monitor: MonitorSection) -> Outlook:
    """What the budget means before any student answers."""
    trigger = task.trigger
    log_level = log_threshold(trigger.false_alarms, trigger.period_days, monitor.tick_seconds)
    return Outlook(
        task=task.name,
        false_alarms=trigger.false_alarms,
        period_days=trigger.period_days,
        tick_seconds=monitor.tick_seconds,
        tolerance=trigger.tolerance,
        level=math.exp(log_level),
        log_level=log_level,
        mass_a_period=trigger.period_days * 86_400 / monitor.tick_seconds,
        mass_a_tick_by_slice=None,
        slices=(),
    )


def outlook(
    session: Session, task: TaskSection, monitor: MonitorSection, shifts: Sequence[float] = SHIFTS
) -> Outlook:
    """The same with every slice that is watched, read from the control file as it stands."""
    plan, watched = planned(task, monitor), kept(session, task.name)
    masses = stream_masses(watched, [], 1.0)
    traffic = _traffic(session, task.name, watched, monitor.window_seconds)
    slices = tuple(
        _slice(stream, watched[stream], traffic[stream], masses[stream], plan, shifts)
        for stream in _in_order(watched)
    )
    return replace(plan, mass_a_tick_by_slice=next(iter(masses.values()), None), slices=slices)


def _in_order(watched: Mapping[Stream, Watched]) -> list[Stream]:
    """By student, the overall slice first."""
    by_student: dict[str, dict[str, object]] = {}
    for artifact, slice_name in watched:
        by_student.setdefault(artifact, {})[slice_name] = None
    return [(artifact, name) for artifact in sorted(by_student) for name in in_order(by_student[artifact])]


def _traffic(
    session: Session, task: str, streams: Mapping[Stream, Watched], window_seconds: int
) -> dict[Stream, Traffic]:
    traffic: dict[Stream, Traffic] = {}
    for artifact in {artifact for artifact, _ in streams}:
        sums, hours = merged_sums(session, task, artifact), _hours(session, task, artifact, window_seconds)
        for _, name in (stream for stream in streams if stream[0] == artifact):
            found = sums.get(name, SliceSums())
            traffic[artifact, name] = Traffic(found.pairs, found.disagreements, hours)
    return traffic


def _hours(session: Session, task: str, artifact: str, window_seconds: int) -> float:
    """From the first window of the student to the end of its last."""
    start = col(SumsRow.window_start_us)
    query = select(func.min(start), func.max(start)).where(
        SumsRow.task == task, SumsRow.artifact == artifact, start != WHOLE_LIFE
    )
    first, last = session.exec(query).one()
    return 0.0 if first is None else ((last - first) / 1e6 + window_seconds) / 3600


def _slice(
    stream: Stream,
    watched: Watched,
    traffic: Traffic,
    mass: float,
    plan: Outlook,
    shifts: Sequence[float],
) -> SliceOutlook:
    rate, rate_source = _rate(watched, traffic)
    per_hour, terms = traffic.pairs_an_hour, watched.detector.terms
    delays = [_delay(terms, min(1.0, rate + shift), per_hour, mass, plan) for shift in shifts]
    return SliceOutlook(
        artifact=stream[0],
        slice=stream[1],
        m0=terms.m0,
        null_source=watched.null.source,
        null_reason=watched.null.reason,
        rate=rate,
        rate_source=rate_source,
        pairs=traffic.pairs,
        pairs_an_hour=per_hour,
        delays=tuple(Delay(shift, *delay) for shift, delay in zip(shifts, delays, strict=True)),
    )


def _rate(watched: Watched, traffic: Traffic) -> tuple[float, str]:
    """The disagreement as the gate measured it, else as it is so far, else the null."""
    if watched.null.rate is not None:
        return watched.null.rate, "gate"
    if traffic.pairs:
        return traffic.disagreements / traffic.pairs, "live"
    return watched.null.m0, "null"


def _delay(
    terms: Terms, rate: float, per_hour: float | None, mass: float, plan: Outlook
) -> tuple[float | None, float | None]:
    """Requests and hours. Ticks without an input leave their mass to the next: rare traffic counts by input."""
    per_tick = 1.0 if per_hour is None else per_hour * plan.tick_seconds / 3600
    inputs, saved = max(1.0, per_tick), max(1.0, 1 / per_tick)
    ticks = expected_ticks(terms, rate, inputs, mass * saved, plan.log_level)
    if ticks is None:
        return None, None
    requests = ticks * inputs
    return requests, None if per_hour is None else requests / per_hour
