"""Keeps one detector for every slice of every student that answers now, and raises its alarms."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import orjson
from sqlmodel import Session, col, delete, select

from ledger.artifacts import GateReport
from ledger.audit import append_audit
from ledger.configuration import MonitorSection, TaskSection
from ledger.jobs import JobCause, create_job, last_finished_job, open_job
from ledger.slices import OVERALL
from ledger.tables import AlarmRow, DetectorRow, StudentRow, SumsRow
from monitor.baseline import Null, null_of
from monitor.cause import Cause, Causes, in_short
from monitor.columns import PairColumns
from monitor.detector import Detector, new_detector, terms_for, update
from monitor.detector_state import from_json, to_json
from monitor.histograms import Bools, Ints
from monitor.receipt import receipt_of
from monitor.reports import WHOLE_LIFE
from monitor.slicing import NO_SLICE
from monitor.sums import SliceSums
from monitor.trigger import Circumstances, Decision, Stream, decide, log_threshold, stream_masses

MOST_STREAMS = 2000  # of a task: a caller's header may take any number of values, memory may not
ACTOR = "monitor"

_KEPT = "SELECT artifact, slice, state FROM detector WHERE task = ?"
_KEEP = "INSERT OR REPLACE INTO detector (task, artifact, slice, state) VALUES (?, ?, ?, ?)"

Counts = tuple[int, int, int]  # distinct inputs, disagreements, start of the earliest exchange


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


def counts_by_stream(pages: Sequence[PairColumns]) -> dict[Stream, Counts]:
    """What one tick shows each stream. Identical inputs count once: a client's retries are no evidence."""
    streams: dict[Stream, int] = {}
    digests: dict[str, int] = {}
    seen = [part for columns in pages for part in _seen(columns, streams, digests)]
    if not seen:
        return {}
    stream, digest, agrees, at_us = (np.concatenate(column) for column in zip(*seen, strict=True))
    first = _first_arrivals(stream * len(digests) + digest)
    inputs = np.bincount(stream[first], minlength=len(streams))
    disagreements = np.bincount(stream[first][~agrees[first]], minlength=len(streams))
    earliest = np.full(len(streams), np.iinfo(np.int64).max)
    np.minimum.at(earliest, stream[first], at_us[first])
    counts = zip(inputs.tolist(), disagreements.tolist(), earliest.tolist(), strict=True)
    return {name: of_stream for name, of_stream in zip(streams, counts, strict=True) if of_stream[0]}


def _first_arrivals(codes: Ints) -> Ints:
    """The place of the first of each code, by rising code.

    Code and place in one number, so that plain numbers are sorted: several times as fast as to sort places by code.
    """
    bits = len(codes).bit_length()
    ordered: Ints = np.sort(codes << bits | np.arange(len(codes)))
    is_first = np.diff(ordered >> bits, prepend=-1) != 0
    places: Ints = ordered[is_first] & ((1 << bits) - 1)
    return places


def _seen(
    columns: PairColumns, streams: dict[Stream, int], digests: dict[str, int]
) -> Iterator[tuple[Ints, Ints, Bools, Ints]]:
    """Stream, digest, agreement and start of every pair in every rule's slice; names new streams and digests."""
    for text in dict.fromkeys(columns.digests):
        digests.setdefault(text, len(digests))
    digest = np.fromiter(map(digests.__getitem__, columns.digests), np.int64, len(columns))
    for rule in columns.slices:
        inside = np.flatnonzero(rule.codes != NO_SLICE)
        table = np.array(
            [
                [streams.setdefault((artifact, name), len(streams)) for name in rule.names]
                for artifact in columns.artifacts
            ],
            dtype=np.int64,
        )
        stream = table[columns.artifact[inside], rule.codes[inside]] if len(inside) else inside
        yield stream, digest[inside], columns.measures.agrees[inside], columns.at_us[inside]


def watch(
    session: Session,
    task: TaskSection,
    monitor: MonitorSection,
    answering: Mapping[str, GateReport | None],
    counts: Mapping[Stream, Counts],
    mass: float,
    now_us: int,
    causes: Causes,
) -> list[AlarmRow]:
    """One tick of a task's detectors, inside the caller's transaction; the alarms that it raised.

    `answering` holds the gate report of every student that answers, None where it cannot be read; `causes` what
    was found out about these alarms, if anybody has looked.
    """
    _forget_others(session, task.name, answering)
    before = kept(session, task.name)
    limit = log_threshold(task.trigger.false_alarms, task.trigger.period_days, monitor.tick_seconds)
    after = _updated(task, before, answering, counts, mass, now_us)
    alarming = [stream for stream in sorted(after) if after[stream].detector.log_wealth >= limit]
    alarms = [
        _raise_alarm(
            session,
            task,
            monitor,
            stream,
            after,
            answering,
            now_us,
            causes.get((task.name, *stream)),
        )
        for stream in alarming
    ]
    silent_until_us = now_us + int(task.trigger.cooldown_seconds * 1e6)
    for stream in alarming:
        alarmed = after[stream]
        after[stream] = Watched(alarmed.null, new_detector(alarmed.detector.terms), silent_until_us)
    _keep(session, task.name, before, after)
    return alarms


def _updated(
    task: TaskSection,
    before: Mapping[Stream, Watched],
    answering: Mapping[str, GateReport | None],
    counts: Mapping[Stream, Counts],
    mass: float,
    now_us: int,
) -> dict[Stream, Watched]:
    room = max(0, MOST_STREAMS - len(before))
    new = [stream for stream in sorted(counts) if stream not in before and stream[0] in answering][:room]
    awake = [stream for stream in before if before[stream].silent_until_us <= now_us]
    masses = stream_masses(awake, new, mass)
    after = dict(before)
    for stream, stream_mass in masses.items():
        watched = _watched_now(task, stream, before.get(stream), answering)
        inputs, disagreements, at_us = counts.get(stream, (0, 0, now_us))
        detector = update(watched.detector, stream_mass, (inputs - disagreements, disagreements), at_us)
        after[stream] = Watched(watched.null, detector)
    return after


def _watched_now(
    task: TaskSection, stream: Stream, watched: Watched | None, answering: Mapping[str, GateReport | None]
) -> Watched:
    """What was kept, or a new detector where there was none or its null is another one by now."""
    artifact, slice_name = stream
    report = answering[artifact]
    if watched is not None and report is None:
        return watched  # the report cannot be read at the moment: no reason to change the null
    null = null_of(slice_name, report, task.rules, task.gate, task.trigger)
    if watched is not None and watched.null.m0 == null.m0:
        return watched
    return Watched(null, new_detector(terms_for(null.m0)))


def _raise_alarm(
    session: Session,
    task: TaskSection,
    monitor: MonitorSection,
    stream: Stream,
    after: Mapping[Stream, Watched],
    answering: Mapping[str, GateReport | None],
    now_us: int,
    cause: Cause | None,
) -> AlarmRow:
    artifact, slice_name = stream
    watched, overall = after[stream], after.get((artifact, OVERALL))
    circumstances = _circumstances(session, task, stream, answering)
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
        at_us=now_us,
        decision=decision,
        job_id=circumstances.open_job,
        receipt=receipt
        | {"decision_reason": reason, "training_window_us": [watched.detector.change_us, now_us]},
        cause=None if cause is None else cause.plain(),
    )
    session.add(alarm)
    session.flush()
    if decision is Decision.JOB_OPENED:
        alarm.job_id = create_job(session, task.name, JobCause.ALARM, task.governance.driver, alarm.id).id
    _audit(session, alarm)
    return alarm


def _audit(session: Session, alarm: AlarmRow) -> None:
    details = {
        "alarm": alarm.id,
        "task": alarm.task,
        "slice": alarm.slice,
        "artifact": alarm.artifact,
        "decision": str(alarm.decision),
        "job": alarm.job_id,
        "cause": in_short(alarm.cause),
    }
    append_audit(session, ACTOR, "alarm_raised", details)


def _circumstances(
    session: Session, task: TaskSection, stream: Stream, answering: Mapping[str, GateReport | None]
) -> Circumstances:
    artifact, slice_name = stream
    sums = session.get(SumsRow, (task.name, artifact, slice_name, WHOLE_LIFE))
    job, finished = open_job(session, task.name), last_finished_job(session, task.name)
    return Circumstances(
        open_job=None if job is None else job.id,
        last_job_finished_us=None if finished is None else finished.finished_at_us,
        newer_student=_newer_student(session, artifact, list(answering)),
        licensed=task.licence is not None and task.licence.distillation_allowed,
        pairs=0 if sums is None else SliceSums.from_json(sums.sums).pairs,
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


def _forget_others(session: Session, task: str, answering: Mapping[str, GateReport | None]) -> None:
    """A student that stopped answering begins anew if it ever answers again."""
    session.exec(
        delete(DetectorRow).where(
            col(DetectorRow.task) == task, col(DetectorRow.artifact).not_in(list(answering))
        )
    )


def kept(session: Session, task: str) -> dict[Stream, Watched]:
    """Every stream of the task that is watched."""
    rows = session.connection().exec_driver_sql(_KEPT, (task,))
    read = (((artifact, name), read_watched(orjson.loads(state))) for artifact, name, state in rows)
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
