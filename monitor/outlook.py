"""What a task's false-alarm budget means: its level, the null of each slice, and how soon shifts would be noticed."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from sqlmodel import Session, col, func, select

from ledger.configuration import MonitorSection, TaskSection
from ledger.harms import Harm
from ledger.tables import SumsRow
from monitor.delay import expected_ticks
from monitor.detector import Terms
from monitor.label_watch import kept as kept_labels
from monitor.reports import WHOLE_LIFE, merged_sums, slice_order
from monitor.sums import SliceSums
from monitor.trigger import Stream, log_threshold, stream_masses
from monitor.watch import Watched, kept

SHIFTS = (0.02, 0.05, 0.10, 0.20)  # rises of the mean loss


@dataclass(frozen=True, slots=True)
class Delay:
    """How long a rise of the mean loss stays unnoticed, on average."""

    shift: float
    requests: float | None  # of the slice; None: such a rise never alarms
    hours: float | None  # at the slice's traffic; None: never, or no traffic was measured


@dataclass(frozen=True, slots=True)
class SliceOutlook:
    """One slice of one student."""

    artifact: str
    slice: str
    harm: str
    m0: float
    null_source: str
    null_reason: str
    rate: float  # the mean loss that the shifts rise from
    rate_source: str  # gate, labels, live, null
    pairs: int  # those with a label, where it is labels that are watched
    pairs_an_hour: float | None
    delays: tuple[Delay, ...]


@dataclass(frozen=True, slots=True)
class LearningOutlook:
    """One slice whose labels are too few yet to say what is normal."""

    artifact: str
    slice: str
    labels: float  # effective number


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
    learning: tuple[LearningOutlook, ...]
    reference_labels: int  # that they need

    def plain(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Traffic:
    """What was measured of one slice so far."""

    pairs: int
    rate: float  # mean loss; nan without pairs
    hours: float  # in which any slice of the student had pairs

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
        learning=(),
        reference_labels=trigger.reference_pairs,
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
    mass = next(iter(masses.values()), None)
    return replace(plan, mass_a_tick_by_slice=mass, slices=slices, learning=_learning(session, task))


def _learning(session: Session, task: TaskSection) -> tuple[LearningOutlook, ...]:
    found = kept_labels(session, task.name) if Harm.REGRET in task.trigger.harms else {}
    waiting = sorted(of_slice for of_slice, watch in found.items() if not watch.is_learnt)
    return tuple(LearningOutlook(*of_slice, found[of_slice].learnt.effective) for of_slice in waiting)


def _in_order(watched: Mapping[Stream, Watched]) -> list[Stream]:
    """By student and harm, the overall slice first."""
    harms = list(Harm)
    return sorted(watched, key=lambda one: (one.artifact, harms.index(one.harm), *slice_order(one.slice)))


def _traffic(
    session: Session, task: str, streams: Mapping[Stream, Watched], window_seconds: int
) -> dict[Stream, Traffic]:
    traffic: dict[Stream, Traffic] = {}
    for artifact in {stream.artifact for stream in streams}:
        sums, hours = merged_sums(session, task, artifact), _hours(session, task, artifact, window_seconds)
        for stream in (stream for stream in streams if stream.artifact == artifact):
            traffic[stream] = _of_harm(stream.harm, sums.get(stream.slice, SliceSums()), hours)
    return traffic


def _of_harm(harm: Harm, sums: SliceSums, hours: float) -> Traffic:
    if harm is Harm.REGRET:
        return Traffic(sums.labelled, sums.student_regret, hours)
    return Traffic(sums.pairs, 1 - sums.fidelity, hours)


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
        artifact=stream.artifact,
        slice=stream.slice,
        harm=stream.harm,
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
    """The mean loss as the reference measured it, else as it is so far, else the null."""
    if watched.null.rate is not None:
        return watched.null.rate, "labels" if watched.null.source == "labels" else "gate"
    if traffic.pairs:
        return traffic.rate, "live"
    return watched.null.m0, "null"


def _delay(
    terms: Terms, rate: float, per_hour: float | None, mass: float, plan: Outlook
) -> tuple[float | None, float | None]:
    """Requests and hours. Ticks without an input leave their mass to the next: rare traffic counts by input."""
    terms = Terms(
        terms.m0, terms.bets
    )  # a mean loss between 0 and 1 is noticed no later than a share of ones
    per_tick = 1.0 if per_hour is None else per_hour * plan.tick_seconds / 3600
    inputs, saved = max(1.0, per_tick), max(1.0, 1 / per_tick)
    ticks = expected_ticks(terms, rate, inputs, mass * saved, plan.log_level)
    if ticks is None:
        return None, None
    requests = ticks * inputs
    return requests, None if per_hour is None else requests / per_hour
