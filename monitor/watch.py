"""Keeps a detector for every harm in every slice of every student that answers now, and raises their alarms."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import orjson
from sqlmodel import Session, col, delete, or_, select

from ledger.artifacts import GateReport
from ledger.audit import append_audit
from ledger.configuration import MonitorSection, TaskSection
from ledger.harms import Harm
from ledger.jobs import JobCause, create_job, last_finished_job, open_job
from ledger.slices import OVERALL
from ledger.tables import AlarmRow, DetectorRow, StudentRow, SumsRow
from monitor.baseline import Null, null_of
from monitor.columns import PairColumns
from monitor.detector import DISAGREEMENT, Detector, new_detector, terms_for, update
from monitor.detector_state import from_json, to_json
from monitor.histograms import Bools, Ints
from monitor.label_watch import LabelTick
from monitor.receipt import receipt_of
from monitor.reports import WHOLE_LIFE
from monitor.slicing import NO_SLICE
from monitor.sums import SliceSums
from monitor.trigger import Circumstances, Decision, Slice, Stream, decide, log_threshold, stream_masses

MOST_STREAMS = 2000  # of a task: a caller's header may take any number of values, memory may not
ACTOR = "monitor"

_KEPT = "SELECT artifact, slice, harm, state FROM detector WHERE task = ?"
_KEEP = "INSERT OR REPLACE INTO detector (task, artifact, slice, harm, state) VALUES (?, ?, ?, ?, ?)"

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


@dataclass(frozen=True, slots=True)
class Shown:
    """What one tick shows a task's detectors."""

    pairs: Mapping[Slice, Counts]
    labels: LabelTick


@dataclass(frozen=True, slots=True)
class _Bet:
    """What one tick shows one of them, and against which null."""

    null: Null
    losses: tuple[float, ...]
    counts: tuple[int, ...]
    at_us: int


def counts_by_stream(pages: Sequence[PairColumns]) -> dict[Slice, Counts]:
    """What one tick shows each slice. Identical inputs count once: a client's retries are no evidence."""
    streams: dict[Slice, int] = {}
    digests: dict[str, int] = {}
    seen = [part for columns in pages for part in _seen(columns, streams, digests)]
    if not seen:
        return {}
    stream, digest, agrees, at_us = (np.concatenate(column) for column in zip(*seen, strict=True))
    _, first = np.unique(stream * len(digests) + digest, return_index=True)  # the first arrival of each
    inputs = np.bincount(stream[first], minlength=len(streams))
    disagreements = np.bincount(stream[first][~agrees[first]], minlength=len(streams))
    earliest = np.full(len(streams), np.iinfo(np.int64).max)
    np.minimum.at(earliest, stream[first], at_us[first])
    counts = zip(inputs.tolist(), disagreements.tolist(), earliest.tolist(), strict=True)
    return {name: of_stream for name, of_stream in zip(streams, counts, strict=True) if of_stream[0]}


def _seen(
    columns: PairColumns, streams: dict[Slice, int], digests: dict[str, int]
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
    shown: Shown,
    mass: float,
    now_us: int,
) -> list[AlarmRow]:
    """One tick of a task's detectors, inside the caller's transaction; the alarms that it raised.

    `answering` holds the gate report of every student that answers, None where it cannot be read.
    """
    _forget_others(session, task, answering)
    before = kept(session, task.name)
    limit = log_threshold(task.trigger.false_alarms, task.trigger.period_days, monitor.tick_seconds)
    after = _updated(task, before, answering, shown, mass, now_us)
    alarming = [stream for stream in sorted(after) if after[stream].detector.log_wealth >= limit]
    alarms = [
        _raise_alarm(session, task, monitor, stream, after, answering, shown.labels, now_us)
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
    shown: Shown,
    mass: float,
    now_us: int,
) -> dict[Stream, Watched]:
    room = max(0, MOST_STREAMS - len(before))
    new = [stream for stream in _streams(task, shown) if stream not in before]
    new = [stream for stream in new if stream.artifact in answering][:room]
    awake = [stream for stream in before if before[stream].silent_until_us <= now_us]
    masses = stream_masses(awake, new, mass)
    after = dict(before)
    for stream, stream_mass in masses.items():
        bet = _bet(task, stream, shown, before.get(stream), answering, now_us)
        if bet is not None:
            detector = _detector_for(bet, before.get(stream))
            after[stream] = Watched(bet.null, update(detector, stream_mass, bet.counts, bet.at_us))
    return after


def _streams(task: TaskSection, shown: Shown) -> list[Stream]:
    """Everything that this tick may show for the first time."""
    slices = {
        Harm.DISAGREEMENT: sorted(shown.pairs),
        Harm.REGRET: sorted(shown.labels.bets),
    }
    return [Stream(*of_slice, harm) for harm in task.trigger.harms for of_slice in slices.get(harm, ())]


def _bet(
    task: TaskSection,
    stream: Stream,
    shown: Shown,
    watched: Watched | None,
    answering: Mapping[str, GateReport | None],
    now_us: int,
) -> _Bet | None:
    """None where there is nothing to bet against; what was gathered until then stays as it is."""
    of_slice = stream.artifact, stream.slice
    if stream.harm is Harm.REGRET:
        found = shown.labels.bets.get(of_slice)
        return None if found is None else _Bet(found.null, found.losses, found.counts, found.at_us)
    null = _null_now(task, stream, watched, answering[stream.artifact])
    inputs, disagreements, at_us = shown.pairs.get(of_slice, (0, 0, now_us))
    return _Bet(null, DISAGREEMENT, (inputs - disagreements, disagreements), at_us)


def _null_now(task: TaskSection, stream: Stream, watched: Watched | None, report: GateReport | None) -> Null:
    if watched is not None and report is None:
        return watched.null  # the report cannot be read at the moment: no reason to change the null
    return null_of(stream.slice, report, task.rules, task.gate, task.trigger)


def _detector_for(bet: _Bet, watched: Watched | None) -> Detector:
    """What was kept, or a new one where there was none or it holds against another null by now."""
    terms = terms_for(bet.null.m0, bet.losses)
    return (
        watched.detector if watched is not None and watched.detector.terms == terms else new_detector(terms)
    )


def _raise_alarm(
    session: Session,
    task: TaskSection,
    monitor: MonitorSection,
    stream: Stream,
    after: Mapping[Stream, Watched],
    answering: Mapping[str, GateReport | None],
    labels: LabelTick,
    now_us: int,
) -> AlarmRow:
    artifact, slice_name, harm = stream
    watched, overall = after[stream], after.get(Stream(artifact, OVERALL, harm))
    circumstances = _circumstances(session, task, stream, answering)
    if harm is Harm.REGRET:
        moved = labels.moved((artifact, slice_name), watched.detector.change_us)
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
        job_id=circumstances.open_job,
        receipt=receipt
        | {"decision_reason": reason, "training_window_us": [watched.detector.change_us, now_us]},
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
        "harm": str(alarm.harm),
        "decision": str(alarm.decision),
        "job": alarm.job_id,
    }
    action = "alarm_refused" if alarm.decision == Decision.LABELS_MOVED else "alarm_raised"
    append_audit(session, ACTOR, action, details)


def _circumstances(
    session: Session, task: TaskSection, stream: Stream, answering: Mapping[str, GateReport | None]
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
