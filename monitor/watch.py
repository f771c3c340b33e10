"""Keeps a detector for every harm in every slice of every student that answers now, and raises their alarms."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import orjson
from sqlmodel import Session, col, delete, or_, select

from ledger.artifacts import GateReport
from ledger.audit import append_audit
from ledger.configuration import MonitorSection, TaskSection
from ledger.distillable import not_distillable
from ledger.harms import Harm
from ledger.jobs import JobCause, create_job, last_finished_job, open_job
from ledger.slices import OVERALL
from ledger.tables import AlarmRow, DetectorRow, StudentRow, SumsRow
from monitor.baseline import Null, null_of
from monitor.cause import Cause, Causes, Place, in_short
from monitor.detector import DISAGREEMENT, Detector, new_detector, terms_for, update
from monitor.detector_state import from_json, to_json
from monitor.distances import DISTANCES, LOSSES, null_of_distance
from monitor.label_watch import LabelTick, advanced
from monitor.label_watch import keep as keep_labels
from monitor.receipt import receipt_of
from monitor.reports import WHOLE_LIFE
from monitor.showing import Shown
from monitor.sums import SliceSums
from monitor.trigger import Circumstances, Decision, Stream, decide, log_threshold, stream_masses

# of a task: every harm in 2,000 slices and some more. A header may take any number of values, memory may not.
MOST_STREAMS = 6400
ACTOR = "monitor"

_KEPT = "SELECT artifact, slice, harm, state FROM detector WHERE task = ?"
_KEEP = "INSERT OR REPLACE INTO detector (task, artifact, slice, harm, state) VALUES (?, ?, ?, ?, ?)"


@dataclass(frozen=True, slots=True)
class Watched:
    """What is kept of one stream."""

    null: Null
    detector: Detector
    silent_until_us: int = 0  # after an alarm it counts nothing until then

    def plain(self) -> dict[str, Any]:
        return {
            "null": asdict(self.null),
            "detector": to_json(self.detector),
            "silent_until_us": self.silent_until_us,
        }


def read_watched(state: Mapping[str, Any]) -> Watched | None:
    """The inverse of Watched.plain; None for what another release wrote, so that the stream begins anew."""
    detector = from_json(state["detector"])
    return None if detector is None else Watched(Null(**state["null"]), detector, state["silent_until_us"])


@dataclass(frozen=True, slots=True)
class _Bet:
    """What one tick shows one detector, and against which null."""

    null: Null
    losses: tuple[float, ...]
    counts: tuple[int, ...]
    at_us: int


@dataclass(frozen=True, slots=True)
class _Tick:
    """What bets are taken on."""

    task: TaskSection
    answering: Mapping[str, GateReport | None]
    shown: Shown
    labels: LabelTick
    now_us: int


def watch(
    session: Session,
    task: TaskSection,
    monitor: MonitorSection,
    answering: Mapping[str, GateReport | None],
    shown: Shown,
    mass: float,
    now_us: int,
    causes: Causes,
) -> list[AlarmRow]:
    """One tick of a task's detectors, inside the caller's transaction; the alarms that it raised.

    `answering` holds the gate report of every student that answers, None where it cannot be read; `causes` what
    was found out about these alarms, if anybody has looked.
    """
    _forget_others(session, task, answering)
    before = kept(session, task.name)
    limit = log_threshold(task.trigger.false_alarms, task.trigger.period_days, monitor.tick_seconds)
    labels = advanced(session, task.name, task.trigger, answering, shown.labels, shown.pairs, now_us)
    tick = _Tick(task, answering, shown, labels, now_us)
    after = _updated(tick, before, mass)
    alarming = [stream for stream in sorted(after) if after[stream].detector.log_wealth >= limit]
    alarms = [
        _raise_alarm(session, tick, monitor, stream, after, causes.get(Place(task.name, *stream)))
        for stream in alarming
    ]
    silent_until_us = now_us + int(task.trigger.cooldown_seconds * 1e6)
    for stream in alarming:
        alarmed = after[stream]
        after[stream] = Watched(alarmed.null, new_detector(alarmed.detector.terms), silent_until_us)
    _keep(session, task.name, before, after)
    keep_labels(session, task.name, labels, alarms)
    return alarms


def _updated(tick: _Tick, before: Mapping[Stream, Watched], mass: float) -> dict[Stream, Watched]:
    awake = [stream for stream in before if before[stream].silent_until_us <= tick.now_us]
    unseen = [stream for stream in _shown_streams(tick) if stream not in before]
    bets = {stream: _bet(tick, stream, before.get(stream)) for stream in (*awake, *unseen)}
    room = max(0, MOST_STREAMS - len(before))
    masses = stream_masses(awake, [stream for stream in unseen if bets[stream] is not None][:room], mass)
    after = dict(before)
    for stream, stream_mass in masses.items():
        bet = bets[stream]
        if bet is not None:
            detector = _detector_for(bet, before.get(stream))
            after[stream] = Watched(bet.null, update(detector, stream_mass, bet.counts, bet.at_us))
    return after


def _shown_streams(tick: _Tick) -> Iterator[Stream]:
    """Everything that this tick may show for the first time."""
    for harm in tick.task.trigger.harms:
        slices = tick.labels.bets if harm is Harm.REGRET else tick.shown.counts
        yield from (Stream(*one, harm) for one in sorted(slices) if one[0] in tick.answering)


def _bet(tick: _Tick, stream: Stream, watched: Watched | None) -> _Bet | None:
    """None where there is nothing to bet against; what was gathered until then stays as it is."""
    of_slice = stream.artifact, stream.slice
    if stream.harm is Harm.REGRET:
        found = tick.labels.bets.get(of_slice)
        return None if found is None else _Bet(found.null, found.losses, found.counts, found.at_us)
    null = _null_now(tick, stream, watched)
    inputs, disagreements, at_us = tick.shown.counts.get(of_slice, (0, 0, tick.now_us))
    if stream.harm in DISTANCES:
        bins = tick.shown.distances[stream.harm].get(of_slice, (0,) * len(LOSSES))
        return None if null is None else _Bet(null, LOSSES, bins, at_us)
    return None if null is None else _Bet(null, DISAGREEMENT, (inputs - disagreements, disagreements), at_us)


def _null_now(tick: _Tick, stream: Stream, watched: Watched | None) -> Null | None:
    """None for a distance of a student whose manifest keeps none."""
    report, task = tick.answering[stream.artifact], tick.task
    if watched is not None and report is None:
        return watched.null  # the artifact cannot be read at the moment: no reason to change the null
    if stream.harm in DISTANCES:
        reference = tick.shown.references.get(stream.artifact, {})
        return null_of_distance(stream.harm, stream.slice, reference, task.trigger)
    return null_of(stream.slice, report, task.rules, task.gate, task.trigger)


def _detector_for(bet: _Bet, watched: Watched | None) -> Detector:
    """What was kept, or a new one where there was none or it holds against another null by now."""
    terms = terms_for(bet.null.m0, bet.losses)
    return (
        watched.detector if watched is not None and watched.detector.terms == terms else new_detector(terms)
    )


def _raise_alarm(
    session: Session,
    tick: _Tick,
    monitor: MonitorSection,
    stream: Stream,
    after: Mapping[Stream, Watched],
    cause: Cause | None,
) -> AlarmRow:
    (artifact, slice_name, harm), task, now_us = stream, tick.task, tick.now_us
    watched, overall = after[stream], after.get(Stream(artifact, OVERALL, harm))
    plain = None if cause is None else cause.plain()
    circumstances = _circumstances(session, task, stream, tick.answering, plain)
    if harm is Harm.REGRET:
        moved = tick.labels.moved((artifact, slice_name), watched.detector.change_us)
        circumstances = replace(circumstances, labels_moved=moved)
    decision, reason = decide(task.trigger, circumstances, now_us)
    receipt = receipt_of(
        watched.detector,
        overall.detector if overall else None,
        watched.null,
        task.trigger,
        monitor.tick_seconds,
    )
    alarm = AlarmRow(
        task=task.name,
        slice=slice_name,
        artifact=artifact,
        harm=harm,
        at_us=now_us,
        decision=decision,
        job_id=None if decision is Decision.LABELS_MOVED else circumstances.open_job,
        receipt=receipt
        | {"decision_reason": reason, "training_window_us": [watched.detector.change_us, now_us]},
        cause=plain,
    )
    session.add(alarm)
    session.flush()
    if decision is Decision.JOB_OPENED:
        alarm.job_id = create_job(session, task.name, JobCause.ALARM, task.driver, alarm.id).id
    _audit(session, alarm)
    return alarm


def _audit(session: Session, alarm: AlarmRow) -> None:
    details = {
        "alarm": alarm.id,
        "task": alarm.task,
        "slice": alarm.slice,
        "artifact": alarm.artifact,
        "harm": str(alarm.harm),
        "decision": str(alarm.decision),
        "job": alarm.job_id,
        "cause": in_short(alarm.cause),
    }
    action = "alarm_refused" if alarm.decision == Decision.LABELS_MOVED else "alarm_raised"
    append_audit(session, ACTOR, action, details)


def _circumstances(
    session: Session,
    task: TaskSection,
    stream: Stream,
    answering: Mapping[str, GateReport | None],
    cause: Mapping[str, Any] | None,
) -> Circumstances:
    artifact, slice_name, _ = stream
    sums = session.get(SumsRow, (task.name, artifact, slice_name, WHOLE_LIFE))
    job, finished = open_job(session, task.name), last_finished_job(session, task.name)
    return Circumstances(
        open_job=None if job is None else job.id,
        last_job_finished_us=None if finished is None else finished.finished_at_us,
        newer_student=_newer_student(session, artifact, list(answering)),
        licensed=task.licence is not None and task.licence.distillation_allowed,
        pairs=0 if sums is None else SliceSums.from_json(sums.sums).pairs,
        not_distillable=not_distillable(session, task.name, task.teacher.version, cause),
        after_alarm=finished is not None and finished.cause == JobCause.ALARM,
    )


def _newer_student(session: Session, artifact: str, answering: Sequence[str]) -> str | None:
    alarmed = session.get(StudentRow, artifact)
    if alarmed is None:
        return None
    return session.exec(
        select(StudentRow.artifact)
        .where(
            col(StudentRow.artifact).in_(answering),
            StudentRow.registered_at_us > alarmed.registered_at_us,
        )
        .order_by(col(StudentRow.registered_at_us).desc())
    ).first()


def _forget_others(session: Session, task: TaskSection, answering: Mapping[str, GateReport | None]) -> None:
    """A student that stopped answering begins anew if it ever answers again; so does a harm that is watched again."""
    others = col(DetectorRow.artifact).not_in(list(answering))
    unwatched = col(DetectorRow.harm).not_in(task.trigger.harms)
    session.exec(delete(DetectorRow).where(col(DetectorRow.task) == task.name, or_(others, unwatched)))


def kept(session: Session, task: str) -> dict[Stream, Watched]:
    """Every stream of the task that is watched."""
    rows = session.connection().exec_driver_sql(_KEPT, (task,))
    read = (
        (Stream(artifact, name, Harm(harm)), read_watched(orjson.loads(state)))
        for artifact, name, harm, state in rows
    )
    return {stream: watched for stream, watched in read if watched is not None}


def _keep(
    session: Session, task: str, before: Mapping[Stream, Watched], after: Mapping[Stream, Watched]
) -> None:
    rows = [
        (task, *stream, orjson.dumps(watched.plain()).decode())
        for stream, watched in after.items()
        if before.get(stream) is not watched
    ]
    if rows:
        session.connection().exec_driver_sql(_KEEP, rows)
