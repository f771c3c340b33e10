"""One tick: read what is new everywhere, then write everything that follows from it in one transaction.

The cursors move in that transaction, so a monitor killed at any moment neither loses nor repeats a pair.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sqlalchemy import Engine
from sqlmodel import Session

from ledger.configuration import Configuration
from ledger.control_file import transaction
from ledger.cursors import advance_cursor, cursor
from ledger.exchange_file import exchange_paths
from ledger.heartbeats import leave_heartbeat
from ledger.labels import labels_after, remove_labels
from ledger.tables import AlarmRow, HeartbeatRow, TeacherChangeRow
from ledger.teacher_changes import sentence_of
from monitor.cause import Cause, Causes, Place
from monitor.columns import PairColumns
from monitor.declared_rules import earliest, join, note_earliest, settle
from monitor.due_jobs import open_due_job
from monitor.explaining import Raised, explain, raised
from monitor.folding import Changes, merged_changes, pair_sums
from monitor.gathering import LABELS, SWEPT, Begun, Read, Reports, bounded_slices, gather, source_of
from monitor.lost_labels import aged_labels
from monitor.reading import Limits, Tasks
from monitor.recertification import Certificates, Seen, Void, recertify, seen
from monitor.references import answering_students, certificates, gate_reports, references
from monitor.runtimes import noted
from monitor.showing import Shown, shown_of
from monitor.teacher_watch import Replies, fold_replies, new_replies
from monitor.trigger import Decision, tick_mass
from monitor.truths import Told, label_history, of_task, told, told_sums
from monitor.watch import watch
from monitor.windows import add_to_rows, with_whole_life

PROCESS = "monitor"  # reader of the cursors and name of the heartbeat
FOLLOWER = "monitor/rules"  # reader of the past for rules that were declared later


THE_PAST_A_TICK = Limits(answers=10_000, pairs=25_000)  # of each gateway, while rules catch up
LABELS_A_TICK = 2000


@dataclass(frozen=True, slots=True)
class Alarm:
    """What a tick says of an alarm that it raised."""

    alarm_id: int
    task: str
    slice: str
    artifact: str
    harm: str
    decision: str
    reason: str
    job_id: int | None


@dataclass(frozen=True, slots=True)
class CycleReport:
    """What one tick did."""

    pairs: int = 0
    labels: int = 0
    lost_labels: int = 0  # of exchanges that never came
    unusable: Mapping[str, int] = field(default_factory=dict)
    overflow: Mapping[str, int] = field(default_factory=dict)  # "task/rule" -> pairs counted as its `other`
    alarms: tuple[Alarm, ...] = ()
    voids: tuple[Void, ...] = ()
    teacher_changes: tuple[str, ...] = ()  # each in a sentence
    joined: tuple[str, ...] = ()  # "task/rule" that has caught up with the past
    catching_up: Mapping[str, float] = field(default_factory=dict)  # "task/rule" -> share of it that is read
    problems: Mapping[str, str] = field(default_factory=dict)  # gateway or student -> why it was skipped
    is_behind: bool = False  # more waits already: tick again at once
    was_overtaken: bool = False  # somebody else moved the cursors meanwhile; nothing was written


@dataclass(frozen=True, slots=True)
class _Tick:
    """What one tick has read, and what is to be written of it."""

    engine: Engine
    configuration: Configuration
    now_us: int
    begun: Begun
    read: Read
    reports: Reports
    unreadable: Mapping[str, str]
    changes: Changes
    shown: Mapping[str, Shown]  # to detectors, by task
    certified: Mapping[str, Certificates]
    accepted: Mapping[str, Seen]
    starts: Mapping[tuple[str, str], int]  # by task and rule
    replies: Mapping[str, Replies]  # to probes, by gateway


class _Unexplained(Exception):
    """Undoes the transaction: causes have to be looked for first."""

    def __init__(self, alarms: Sequence[Raised]) -> None:
        self.alarms = alarms
        super().__init__(f"{len(alarms)} alarms")


def run_cycle(
    engine: Engine, configuration: Configuration, now_us: int, past: Limits = THE_PAST_A_TICK
) -> CycleReport:
    """One tick at `now_us`. Raises OperationalError when the control file is locked, with nothing done.

    `past` is how much of the past rules that catch up are shown.
    """
    paths = exchange_paths(configuration.deployment.data_directory)
    tick = _prepared(engine, configuration, paths, now_us, past)
    causes: dict[Place, Cause] = {}
    while not isinstance(written := _written(tick, causes), CycleReport):
        causes |= explain(engine, configuration, paths, PROCESS, written)
    return written


def _prepared(
    engine: Engine, configuration: Configuration, paths: Sequence[Path], now_us: int, past: Limits
) -> _Tick:
    """Everything that needs no lock: what is new is read and summed up."""
    directory = configuration.deployment.data_directory
    tasks = {task.name: task for task in configuration.task}
    files = {path.stem: path for path in paths}
    begun = _begin(engine, tasks, files, now_us)
    read = gather(begun, files, tasks, past)
    reports, unreadable = gate_reports(directory, begun.answering)
    read = bounded_slices(engine, read, tasks, reports)
    live, of_past = _told(engine, tasks, begun, read)
    certified = certificates(directory, begun.answering)
    kept = references(directory, begun.answering)
    return _Tick(
        engine=engine,
        configuration=configuration,
        now_us=now_us,
        begun=begun,
        read=read,
        reports=reports,
        unreadable=unreadable,
        changes=_changes(configuration.monitor.window_seconds, read, live, of_past),
        shown={
            name: shown_of(_of_task(read, name), of_task(live, name), task.trigger, kept[name])
            for name, task in tasks.items()
        },
        certified=certified,
        accepted={task: seen(_of_task(read, task), certified[task]) for task in tasks},
        starts=earliest((*read.pairs, *read.past.pairs)),
        replies=new_replies(engine, configuration, files),
    )


def _written(tick: _Tick, causes: Causes) -> CycleReport | Sequence[Raised]:
    """One transaction. It is undone where alarms lack their causes: these are returned, and it is tried again.

    The same tick raises the same alarms again, and the record is read in between, not under the lock.
    """
    try:
        with transaction(tick.engine) as session:
            return _write(session, tick, causes)
    except _Unexplained as found:
        return found.alarms


def _write(session: Session, tick: _Tick, causes: Causes) -> CycleReport:
    configuration, now_us = tick.configuration, tick.now_us
    if not _is_current(session, tick.begun):
        return CycleReport(was_overtaken=True)
    add_to_rows(session, tick.changes)
    note_earliest(session, tick.starts)
    mass = tick_mass(_seconds_since_last_tick(session, now_us), configuration.monitor.tick_seconds)
    teacher_changes = fold_replies(session, configuration, tick.replies, now_us)
    alarms = _watch(session, tick, mass, causes)
    unexplained = [alarm for alarm in raised(alarms) if alarm.place not in causes]
    if unexplained:
        raise _Unexplained(unexplained)
    voids = _recertify(session, tick, alarms, mass)
    for task in configuration.task:
        open_due_job(session, task, tick.certified[task.name], now_us)
    _advance(session, tick.begun, tick.read)
    report = replace(
        _report(tick.begun, tick.read, alarms, voids, tick.unreadable),
        teacher_changes=tuple(map(_said, teacher_changes)),
    )
    leave_heartbeat(session, PROCESS, _heartbeat(session, tick.begun, report, now_us))
    return report


def _begin(engine: Engine, tasks: Tasks, files: Mapping[str, Path], now_us: int) -> Begun:
    with transaction(engine) as session:
        sources = list(map(source_of, files))
        positions = {source: cursor(session, PROCESS, source) for source in (LABELS, SWEPT, *sources)}
        labels = labels_after(session, positions[LABELS], LABELS_A_TICK)
        aged = aged_labels(session, positions[SWEPT], positions[LABELS], now_us)
        answering = {task: answering_students(session, task) for task in tasks}
        rules = settle(session, tasks, PROCESS, FOLLOWER)
        past = {source: cursor(session, FOLLOWER, source) for source in sources if rules.catching_up}
        return Begun(positions, tuple(labels), tuple(aged), answering, rules, past)


def _is_current(session: Session, begun: Begun) -> bool:
    return all(
        cursor(session, reader, source) == at
        for reader, positions in ((PROCESS, begun.positions), (FOLLOWER, begun.past))
        for source, at in positions.items()
    )


def _told(engine: Engine, tasks: Tasks, begun: Begun, read: Read) -> tuple[Told, Told]:
    """What labels say of the pairs of the live reader, and of the one that catches up.

    Labels read so far never change, so this needs no lock meanwhile.
    """
    position = begun.positions[LABELS]
    last_label = max([position, *(label.number or 0 for label in read.labels)])
    live, past = (read.pairs, read.known), (read.past.pairs, read.past.known)
    with transaction(engine) as session:
        history = label_history(session, [*live[0], *live[1], *past[0], *past[1]], last_label)
    of_live = told(*live, read.labels, history, position, tasks)
    return of_live, told(*past, read.labels, history, position, tasks)


def _changes(window_seconds: int, read: Read, live: Told, past: Told) -> Changes:
    """What is to be added to which row."""
    changes = [pair_sums(columns, window_seconds) for columns in (*read.pairs, *read.past.pairs)]
    for of_reader in (live, past):
        changes += told_sums(of_reader, window_seconds)
    return with_whole_life(merged_changes(changes))


def _of_task(read: Read, task: str) -> list[PairColumns]:
    return [columns for columns in read.pairs if columns.task == task]


def _watch(session: Session, tick: _Tick, mass: float, causes: Causes) -> list[AlarmRow]:
    monitor, alarms = tick.configuration.monitor, list[AlarmRow]()
    for task in tick.configuration.task:
        answering, found = tick.reports[task.name], tick.shown[task.name]
        alarms += watch(session, task, monitor, answering, found, mass, tick.now_us, causes)
    return alarms


def _recertify(session: Session, tick: _Tick, alarms: Sequence[AlarmRow], mass: float) -> list[Void]:
    seconds, voids = tick.configuration.monitor.tick_seconds, list[Void]()
    counted = [alarm for alarm in alarms if alarm.decision != Decision.LABELS_MOVED]
    for task in tick.configuration.task:
        of_task = tick.certified[task.name], tick.accepted[task.name]
        voids += recertify(session, task, seconds, *of_task, counted, mass, tick.now_us)
    return voids


def _said(change: TeacherChangeRow) -> str:
    return f"task {change.task}: {sentence_of(change)}"


def _seconds_since_last_tick(session: Session, now_us: int) -> float | None:
    last = session.get(HeartbeatRow, PROCESS)
    return None if last is None else (now_us - last.report["tick_at_us"]) / 1e6


def _advance(session: Session, begun: Begun, read: Read) -> None:
    positions = {source_of(gateway): arrivals.position for gateway, arrivals in read.arrivals.items()}
    positions[SWEPT] = read.swept.position
    remove_labels(session, read.swept.lost)
    if read.labels:
        positions[LABELS] = read.labels[-1].number or 0
    for source, position in positions.items():
        if position != begun.positions[source]:
            advance_cursor(session, PROCESS, source, position)
    if begun.followed.catching_up:
        _advance_past(session, read)


def _advance_past(session: Session, read: Read) -> None:
    if read.caught_up:
        join(session, FOLLOWER)
    else:
        for gateway, arrivals in read.past.arrivals.items():
            advance_cursor(session, FOLLOWER, source_of(gateway), arrivals.position)


def _report(
    begun: Begun,
    read: Read,
    alarms: Sequence[AlarmRow],
    voids: Sequence[Void],
    unreadable: Mapping[str, str],
) -> CycleReport:
    names, caught_up = begun.followed.names, read.caught_up
    unusable: Counter[str] = Counter()
    for arrivals in read.arrivals.values():
        unusable.update(arrivals.unusable)
    return CycleReport(
        pairs=sum(map(len, read.pairs)),
        labels=len(read.labels),
        lost_labels=len(read.swept.lost),
        unusable=dict(unusable),
        overflow=read.overflow,
        alarms=tuple(map(_alarm, alarms)),
        voids=tuple(voids),
        joined=names if caught_up else (),
        catching_up={} if caught_up else dict.fromkeys(names, read.share_of_past),
        problems={**read.problems, **unreadable},
        is_behind=len(read.labels) >= LABELS_A_TICK
        or read.is_behind
        or (begun.followed.more_wait if caught_up else read.past_is_behind),
    )


def _alarm(row: AlarmRow) -> Alarm:
    reason = row.receipt["decision_reason"]
    return Alarm(row.id or 0, row.task, row.slice, row.artifact, row.harm, row.decision, reason, row.job_id)


def _heartbeat(session: Session, begun: Begun, report: CycleReport, now_us: int) -> dict[str, Any]:
    """Totals since the control file was made: exact, since they are part of the transaction."""
    last, student = (session.get(HeartbeatRow, process) for process in (PROCESS, "student"))
    before = last.report if last is not None else {}
    answering = [artifact for students in begun.answering.values() for artifact in students]
    unusable = Counter(before.get("unusable", {}))
    unusable.update(report.unusable)
    overflow = Counter(before.get("overflow", {}))
    overflow.update(report.overflow)
    return {
        "tick_at_us": now_us,
        "ticks": before.get("ticks", 0) + 1,
        "pairs": before.get("pairs", 0) + report.pairs,
        "labels": before.get("labels", 0) + report.labels,
        "lost_labels": before.get("lost_labels", 0) + report.lost_labels,
        "alarms": before.get("alarms", 0) + len(report.alarms),
        "unusable": dict(unusable),
        "overflow": dict(overflow),
        "catching_up": dict(report.catching_up),
        "runtimes": noted(before, student.report if student is not None else {}, answering, now_us),
        "is_behind": report.is_behind,
        "problems": dict(report.problems),
    }
