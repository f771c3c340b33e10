"""One tick: read what is new everywhere, then write everything that follows from it in one transaction.

The cursors move in that transaction, so a monitor killed at any moment neither loses nor repeats a pair.
"""

import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sqlalchemy import Engine
from sqlmodel import Session

from ledger.artifacts import GateReport
from ledger.configuration import Configuration
from ledger.control_file import transaction
from ledger.cursors import advance_cursor, cursor
from ledger.exchange import parse_exchange_id
from ledger.exchange_file import exchange_paths
from ledger.heartbeats import leave_heartbeat
from ledger.labels import labels_after
from ledger.stages import task_stages
from ledger.tables import AlarmRow, HeartbeatRow, LabelRow, StudentRow
from monitor.cardinality import SliceNames, bounded, slice_names
from monitor.columns import PairColumns
from monitor.folding import Changes, merged_changes, pair_sums
from monitor.reading import Arrivals, Limits, Tasks, read_arrivals
from monitor.recertification import Certificates, Seen, Void, recertify, seen
from monitor.references import certificates, gate_reports
from monitor.trigger import Stream, tick_mass
from monitor.truths import label_history, labels_of_known_pairs, labels_of_new_pairs
from monitor.watch import Counts, counts_by_stream, watch
from monitor.windows import add_to_rows, with_whole_life

PROCESS = "monitor"  # reader of the cursors and name of the heartbeat
LABELS = "labels"  # cursor source; an exchange file's is "answers:<gateway>"
A_TICK = Limits(answers=20_000, pairs=50_000)  # of each gateway; the rest waits for the next tick, at once
LABELS_A_TICK = 2000


@dataclass(frozen=True, slots=True)
class Alarm:
    """What a tick says of an alarm that it raised."""

    alarm_id: int
    task: str
    slice: str
    artifact: str
    decision: str
    job_id: int | None


@dataclass(frozen=True, slots=True)
class CycleReport:
    """What one tick did."""

    pairs: int = 0
    labels: int = 0
    unusable: Mapping[str, int] = field(default_factory=dict)
    overflow: Mapping[str, int] = field(default_factory=dict)  # "task/rule" -> pairs counted as its `other`
    alarms: tuple[Alarm, ...] = ()
    voids: tuple[Void, ...] = ()
    problems: Mapping[str, str] = field(default_factory=dict)  # gateway or student -> why it was skipped
    is_behind: bool = False  # more waits already: tick again at once
    was_overtaken: bool = False  # somebody else moved the cursors meanwhile; nothing was written


@dataclass(frozen=True, slots=True)
class Begun:
    """Where the sources stood and what the control file said when the tick began."""

    positions: Mapping[str, int]  # cursor source -> position
    labels: tuple[LabelRow, ...]
    answering: Mapping[str, Mapping[str, str]]  # task -> artifact -> manifest digest


@dataclass(frozen=True, slots=True)
class Read:
    """What lies beyond those positions."""

    arrivals: Mapping[str, Arrivals]  # by gateway
    pairs: tuple[PairColumns, ...]
    known: tuple[PairColumns, ...]
    overflow: Mapping[str, int]  # "task/rule" -> pairs that had to count as its `other`
    labels: tuple[LabelRow, ...]  # those whose exchange files could be read
    problems: Mapping[str, str]


def run_cycle(engine: Engine, configuration: Configuration, now_us: int) -> CycleReport:
    """One tick at `now_us`. Raises OperationalError when the control file is locked, with nothing done."""
    directory = configuration.deployment.data_directory
    tasks = {task.name: task for task in configuration.task}
    files = {path.stem: path for path in exchange_paths(directory)}
    begun = _begin(engine, tasks, files)
    read = _read(begun, files, tasks)
    reports, unreadable = gate_reports(directory, begun.answering)
    read = _bounded(engine, read, tasks, reports)
    changes = _changes(engine, configuration, tasks, begun, read)
    counts = {task: _counts(read, task) for task in tasks}
    certified = certificates(directory, begun.answering)
    shown = {task: seen(_of_task(read, task), certified[task]) for task in tasks}
    with transaction(engine) as session:
        if not _is_current(session, begun):
            return CycleReport(was_overtaken=True)
        add_to_rows(session, changes)
        mass = tick_mass(_seconds_since_last_tick(session, now_us), configuration.monitor.tick_seconds)
        alarms = _watch(session, configuration, counts, reports, mass, now_us)
        voids = _recertify(session, configuration, certified, shown, alarms, mass, now_us)
        _advance(session, begun, read)
        report = _report(read, alarms, voids, unreadable)
        leave_heartbeat(session, PROCESS, _heartbeat(session, report, now_us))
    return report


def _begin(engine: Engine, tasks: Tasks, files: Mapping[str, Path]) -> Begun:
    with transaction(engine) as session:
        sources = [LABELS, *map(_source, files)]
        positions = {source: cursor(session, PROCESS, source) for source in sources}
        labels = labels_after(session, positions[LABELS], LABELS_A_TICK)
        return Begun(positions, tuple(labels), {task: answering_students(session, task) for task in tasks})


def answering_students(session: Session, task: str) -> dict[str, str]:
    """Manifest digests by artifact."""
    students = (session.get(StudentRow, artifact) for artifact in task_stages(session, task).answering)
    return {student.artifact: student.manifest_digest for student in students if student is not None}


def _read(begun: Begun, files: Mapping[str, Path], tasks: Tasks) -> Read:
    arrivals: dict[str, Arrivals] = {}
    problems: dict[str, str] = {}
    asked_about = _labelled_sequences(begun.labels)
    for gateway, path in files.items():
        position = begun.positions[_source(gateway)]
        sequences = sorted(asked_about.get(gateway, ()))
        try:
            arrivals[gateway] = read_arrivals(path, position, A_TICK, tasks, sequences)
        except sqlite3.Error as error:
            problems[gateway] = f"{path} cannot be read: {error}"
    pairs = tuple(columns for one in arrivals.values() for columns in one.pairs)
    known = tuple(columns for one in arrivals.values() for columns in one.known)
    return Read(arrivals, pairs, known, {}, tuple(_labels_before(begun.labels, problems)), problems)


def _bounded(
    engine: Engine, read: Read, tasks: Tasks, reports: Mapping[str, Mapping[str, GateReport | None]]
) -> Read:
    """With at most so many slices of a header as its rule allows."""
    students = {(columns.task, name) for columns in (*read.pairs, *read.known) for name in columns.artifacts}
    names: dict[str, dict[str, SliceNames]] = {}
    with transaction(engine) as session:
        for task, artifact in sorted(students):
            of_task = names.setdefault(task, {})
            of_task[artifact] = slice_names(session, task, artifact, reports[task].get(artifact))
    pairs = tuple(bounded(columns, tasks[columns.task], names[columns.task]) for columns in read.pairs)
    overflow: Counter[str] = Counter()
    for task, of_task in names.items():
        for student in of_task.values():
            overflow.update({f"{task}/{rule}": count for rule, count in student.overflow.items() if count})
    known = tuple(bounded(columns, tasks[columns.task], names[columns.task]) for columns in read.known)
    return replace(read, pairs=pairs, known=known, overflow=overflow)


def _labelled_sequences(labels: Sequence[LabelRow]) -> dict[str, set[int]]:
    sequences: dict[str, set[int]] = {}
    for label in labels:
        parsed = parse_exchange_id(label.exchange_id)
        if parsed is not None:
            sequences.setdefault(parsed[0], set()).add(parsed[1])
    return sequences


def _labels_before(labels: Sequence[LabelRow], unreadable: Mapping[str, str]) -> Iterator[LabelRow]:
    """Labels up to the first whose exchange file cannot be read now: that one waits, in its order."""
    for label in labels:
        parsed = parse_exchange_id(label.exchange_id)
        if parsed is not None and parsed[0] in unreadable:
            return
        yield label


def _is_current(session: Session, begun: Begun) -> bool:
    return all(cursor(session, PROCESS, source) == at for source, at in begun.positions.items())


def _changes(engine: Engine, configuration: Configuration, tasks: Tasks, begun: Begun, read: Read) -> Changes:
    """What is to be added to which row. Labels read so far never change, so this needs no lock meanwhile."""
    position, window = begun.positions[LABELS], configuration.monitor.window_seconds
    last_label = max([position, *(label.number or 0 for label in read.labels)])
    with transaction(engine) as session:
        history = label_history(session, [*read.pairs, *read.known], last_label)
    changes: list[Changes] = []
    for columns in read.pairs:
        changes += pair_sums(columns, window)
        changes += labels_of_new_pairs(columns, history, position, tasks, window)
    for columns in read.known:
        changes += labels_of_known_pairs(read.labels, columns, history, tasks, window)
    return with_whole_life(merged_changes(changes))


def _counts(read: Read, task: str) -> dict[Stream, Counts]:
    return counts_by_stream(_of_task(read, task))


def _of_task(read: Read, task: str) -> list[PairColumns]:
    return [columns for columns in read.pairs if columns.task == task]


def _watch(
    session: Session,
    configuration: Configuration,
    counts: Mapping[str, Mapping[Stream, Counts]],
    reports: Mapping[str, Mapping[str, GateReport | None]],
    mass: float,
    now_us: int,
) -> list[AlarmRow]:
    alarms: list[AlarmRow] = []
    for task in configuration.task:
        answering, of_task = reports[task.name], counts[task.name]
        alarms += watch(session, task, configuration.monitor, answering, of_task, mass, now_us)
    return alarms


def _recertify(
    session: Session,
    configuration: Configuration,
    certified: Mapping[str, Certificates],
    shown: Mapping[str, Seen],
    alarms: Sequence[AlarmRow],
    mass: float,
    now_us: int,
) -> list[Void]:
    seconds = configuration.monitor.tick_seconds
    voids: list[Void] = []
    for task in configuration.task:
        of_task = certified[task.name], shown[task.name]
        voids += recertify(session, task, seconds, *of_task, alarms, mass, now_us)
    return voids


def _seconds_since_last_tick(session: Session, now_us: int) -> float | None:
    last = session.get(HeartbeatRow, PROCESS)
    return None if last is None else (now_us - last.report["tick_at_us"]) / 1e6


def _advance(session: Session, begun: Begun, read: Read) -> None:
    positions = {_source(gateway): arrivals.position for gateway, arrivals in read.arrivals.items()}
    if read.labels:
        positions[LABELS] = read.labels[-1].number or 0
    for source, position in positions.items():
        if position != begun.positions[source]:
            advance_cursor(session, PROCESS, source, position)


def _report(
    read: Read, alarms: Sequence[AlarmRow], voids: Sequence[Void], unreadable: Mapping[str, str]
) -> CycleReport:
    unusable: Counter[str] = Counter()
    for arrivals in read.arrivals.values():
        unusable.update(arrivals.unusable)
    return CycleReport(
        pairs=sum(map(len, read.pairs)),
        labels=len(read.labels),
        unusable=dict(unusable),
        overflow=read.overflow,
        alarms=tuple(Alarm(a.id or 0, a.task, a.slice, a.artifact, a.decision, a.job_id) for a in alarms),
        voids=tuple(voids),
        problems={**read.problems, **unreadable},
        is_behind=len(read.labels) >= LABELS_A_TICK
        or any(arrivals.is_behind for arrivals in read.arrivals.values()),
    )


def _heartbeat(session: Session, report: CycleReport, now_us: int) -> dict[str, Any]:
    """Totals since the control file was made: exact, since they are part of the transaction."""
    last = session.get(HeartbeatRow, PROCESS)
    before = last.report if last is not None else {}
    unusable = Counter(before.get("unusable", {}))
    unusable.update(report.unusable)
    overflow = Counter(before.get("overflow", {}))
    overflow.update(report.overflow)
    return {
        "tick_at_us": now_us,
        "ticks": before.get("ticks", 0) + 1,
        "pairs": before.get("pairs", 0) + report.pairs,
        "labels": before.get("labels", 0) + report.labels,
        "alarms": before.get("alarms", 0) + len(report.alarms),
        "unusable": dict(unusable),
        "overflow": dict(overflow),
        "is_behind": report.is_behind,
        "problems": dict(report.problems),
    }


def _source(gateway: str) -> str:
    return f"answers:{gateway}"
