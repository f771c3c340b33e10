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
from ledger.labels import labels_after, remove_labels
from ledger.tables import AlarmRow, HeartbeatRow, LabelRow
from monitor.cardinality import SliceNames, bounded, slice_names
from monitor.columns import PairColumns, without_overall
from monitor.declared_rules import Followed, earliest, join, note_earliest, settle
from monitor.due_jobs import open_due_job
from monitor.folding import Changes, merged_changes, pair_sums
from monitor.lost_labels import Swept, aged_labels, sweep
from monitor.reading import Arrivals, Limits, Tasks, read_arrivals
from monitor.recertification import Certificates, Seen, Void, recertify, seen
from monitor.references import answering_students, certificates, gate_reports
from monitor.trigger import Stream, tick_mass
from monitor.truths import label_history, labels_of_known_pairs, labels_of_new_pairs
from monitor.watch import Counts, counts_by_stream, watch
from monitor.windows import add_to_rows, with_whole_life

PROCESS = "monitor"  # reader of the cursors and name of the heartbeat
FOLLOWER = "monitor/rules"  # reader of the past for rules that were declared later
SWEPT = "labels/swept"  # cursor source: labels up to here have their exchange, or were removed
LABELS = "labels"  # cursor source; an exchange file's is "answers:<gateway>"
A_TICK = Limits(answers=20_000, pairs=50_000)  # of each gateway; the rest waits for the next tick, at once
THE_PAST_A_TICK = Limits(answers=10_000, pairs=25_000)  # likewise, while rules catch up
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
    lost_labels: int = 0  # of exchanges that never came
    unusable: Mapping[str, int] = field(default_factory=dict)
    overflow: Mapping[str, int] = field(default_factory=dict)  # "task/rule" -> pairs counted as its `other`
    alarms: tuple[Alarm, ...] = ()
    voids: tuple[Void, ...] = ()
    joined: tuple[str, ...] = ()  # "task/rule" that has caught up with the past
    catching_up: Mapping[str, float] = field(default_factory=dict)  # "task/rule" -> share of it that is read
    problems: Mapping[str, str] = field(default_factory=dict)  # gateway or student -> why it was skipped
    is_behind: bool = False  # more waits already: tick again at once
    was_overtaken: bool = False  # somebody else moved the cursors meanwhile; nothing was written


@dataclass(frozen=True, slots=True)
class Begun:
    """Where the sources stood and what the control file said when the tick began."""

    positions: Mapping[str, int]  # cursor source -> position
    labels: tuple[LabelRow, ...]
    aged: tuple[LabelRow, ...]  # whose exchange should be there by now
    answering: Mapping[str, Mapping[str, str]]  # task -> artifact -> manifest digest
    followed: Followed
    past: Mapping[str, int]  # cursor source -> position of the rules that catch up


@dataclass(frozen=True, slots=True)
class Past:
    """What rules that catch up are shown, in their slices alone."""

    arrivals: Mapping[str, Arrivals] = field(default_factory=dict)  # by gateway
    pairs: tuple[PairColumns, ...] = ()
    known: tuple[PairColumns, ...] = ()


@dataclass(frozen=True, slots=True)
class Read:
    """What lies beyond those positions."""

    arrivals: Mapping[str, Arrivals]  # by gateway
    pairs: tuple[PairColumns, ...]
    known: tuple[PairColumns, ...]
    overflow: Mapping[str, int]  # "task/rule" -> pairs that had to count as its `other`
    labels: tuple[LabelRow, ...]  # those whose exchange files could be read
    problems: Mapping[str, str]
    past: Past
    swept: Swept


def run_cycle(
    engine: Engine, configuration: Configuration, now_us: int, past: Limits = THE_PAST_A_TICK
) -> CycleReport:
    """One tick at `now_us`. Raises OperationalError when the control file is locked, with nothing done.

    `past` is how much of the past rules that catch up are shown.
    """
    directory = configuration.deployment.data_directory
    tasks = {task.name: task for task in configuration.task}
    files = {path.stem: path for path in exchange_paths(directory)}
    begun = _begin(engine, tasks, files, now_us)
    read = _read(begun, files, tasks, past)
    reports, unreadable = gate_reports(directory, begun.answering)
    read = _bounded(engine, read, tasks, reports)
    changes = _changes(engine, configuration, tasks, begun, read)
    counts = {task: _counts(read, task) for task in tasks}
    certified = certificates(directory, begun.answering)
    shown = {task: seen(_of_task(read, task), certified[task]) for task in tasks}
    starts = earliest((*read.pairs, *read.past.pairs))
    with transaction(engine) as session:
        if not _is_current(session, begun):
            return CycleReport(was_overtaken=True)
        add_to_rows(session, changes)
        note_earliest(session, starts)
        mass = tick_mass(_seconds_since_last_tick(session, now_us), configuration.monitor.tick_seconds)
        alarms = _watch(session, configuration, counts, reports, mass, now_us)
        voids = _recertify(session, configuration, certified, shown, alarms, mass, now_us)
        for task in configuration.task:
            open_due_job(session, task, certified[task.name], now_us)
        _advance(session, begun, read)
        report = _report(begun, read, alarms, voids, unreadable)
        leave_heartbeat(session, PROCESS, _heartbeat(session, report, now_us))
    return report


def _begin(engine: Engine, tasks: Tasks, files: Mapping[str, Path], now_us: int) -> Begun:
    with transaction(engine) as session:
        sources = list(map(_source, files))
        positions = {source: cursor(session, PROCESS, source) for source in (LABELS, SWEPT, *sources)}
        labels = labels_after(session, positions[LABELS], LABELS_A_TICK)
        aged = aged_labels(session, positions[SWEPT], positions[LABELS], now_us)
        answering = {task: answering_students(session, task) for task in tasks}
        rules = settle(session, tasks, PROCESS, FOLLOWER)
        past = {source: cursor(session, FOLLOWER, source) for source in sources if rules.catching_up}
        return Begun(positions, tuple(labels), tuple(aged), answering, rules, past)


def _read(begun: Begun, files: Mapping[str, Path], tasks: Tasks, limits: Limits) -> Read:
    arrivals: dict[str, Arrivals] = {}
    problems: dict[str, str] = {}
    asked_about = _labelled_sequences(begun.labels)
    past: dict[str, Arrivals] = {}
    for gateway, path in files.items():
        sequences = sorted(asked_about.get(gateway, ()))
        try:
            arrivals[gateway] = _read_live(begun, gateway, path, tasks, sequences)
            if begun.followed.catching_up:
                upto = arrivals[gateway].position
                past[gateway] = _read_past(begun, gateway, path, tasks, sequences, upto, limits)
        except sqlite3.Error as error:
            arrivals.pop(gateway, None)  # both or neither: a label is applied to what both have read
            problems[gateway] = f"{path} cannot be read: {error}"
    labels = tuple(_labels_before(begun.labels, problems))
    swept = sweep(begun.aged, begun.positions[SWEPT], files)
    return Read(arrivals, *_columns(arrivals), {}, labels, problems, Past(past, *_columns(past)), swept)


def _read_live(begun: Begun, gateway: str, path: Path, tasks: Tasks, asked_about: Sequence[int]) -> Arrivals:
    position = begun.positions[_source(gateway)]
    return read_arrivals(path, position, A_TICK, tasks, asked_about, begun.followed.joined)


def _read_past(
    begun: Begun,
    gateway: str,
    path: Path,
    tasks: Tasks,
    asked_about: Sequence[int],
    upto: int,
    limits: Limits,
) -> Arrivals:
    """For the rules that catch up, up to where the live reader stands."""
    rules = begun.followed.catching_up
    some = {name: tasks[name] for name in rules}
    position = begun.past[_source(gateway)]
    found = read_arrivals(path, position, limits, some, asked_about, rules, upto)
    pairs, known = (tuple(map(without_overall, part)) for part in (found.pairs, found.known))
    return replace(found, pairs=pairs, known=known)


def _columns(arrivals: Mapping[str, Arrivals]) -> tuple[tuple[PairColumns, ...], tuple[PairColumns, ...]]:
    """The new pairs of all gateways, and the known ones."""
    pairs = tuple(columns for one in arrivals.values() for columns in one.pairs)
    return pairs, tuple(columns for one in arrivals.values() for columns in one.known)


def _bounded(
    engine: Engine, read: Read, tasks: Tasks, reports: Mapping[str, Mapping[str, GateReport | None]]
) -> Read:
    """With at most so many slices of a header as its rule allows."""
    past = read.past
    columns_of_all = (*read.pairs, *read.known, *past.pairs, *past.known)
    students = {(columns.task, name) for columns in columns_of_all for name in columns.artifacts}
    names: dict[str, dict[str, SliceNames]] = {}
    with transaction(engine) as session:
        for task, artifact in sorted(students):
            of_task = names.setdefault(task, {})
            of_task[artifact] = slice_names(session, task, artifact, reports[task].get(artifact))

    def bound(some: Sequence[PairColumns]) -> tuple[PairColumns, ...]:
        return tuple(bounded(columns, tasks[columns.task], names[columns.task]) for columns in some)

    pairs, past_pairs = bound(read.pairs), bound(past.pairs)
    overflow: Counter[str] = Counter()
    for task, of_task in names.items():
        for student in of_task.values():
            overflow.update({f"{task}/{rule}": count for rule, count in student.overflow.items() if count})
    bounded_past = Past(past.arrivals, past_pairs, bound(past.known))
    return replace(read, pairs=pairs, known=bound(read.known), overflow=overflow, past=bounded_past)


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
    return all(
        cursor(session, reader, source) == at
        for reader, positions in ((PROCESS, begun.positions), (FOLLOWER, begun.past))
        for source, at in positions.items()
    )


def _changes(engine: Engine, configuration: Configuration, tasks: Tasks, begun: Begun, read: Read) -> Changes:
    """What is to be added to which row. Labels read so far never change, so this needs no lock meanwhile."""
    position, window = begun.positions[LABELS], configuration.monitor.window_seconds
    last_label = max([position, *(label.number or 0 for label in read.labels)])
    pairs, known = (*read.pairs, *read.past.pairs), (*read.known, *read.past.known)
    with transaction(engine) as session:
        history = label_history(session, [*pairs, *known], last_label)
    changes: list[Changes] = []
    for columns in pairs:
        changes += pair_sums(columns, window)
        changes += labels_of_new_pairs(columns, history, position, tasks, window)
    for columns in known:
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
    if _caught_up(read):
        join(session, FOLLOWER)
    else:
        for gateway, arrivals in read.past.arrivals.items():
            advance_cursor(session, FOLLOWER, _source(gateway), arrivals.position)


def _caught_up(read: Read) -> bool:
    """Both readers stand at the same answer of every gateway. One that cannot be read now is waited for."""
    positions = {gateway: arrivals.position for gateway, arrivals in read.arrivals.items()}
    return not read.problems and positions == {
        gateway: arrivals.position for gateway, arrivals in read.past.arrivals.items()
    }


def _past_is_behind(read: Read) -> bool:
    return any(arrivals.is_behind for arrivals in read.past.arrivals.values())


def _share_read(read: Read) -> float:
    """Of the past, by the rules that catch up."""
    past, live = (
        sum(arrivals.position for arrivals in some.values()) for some in (read.past.arrivals, read.arrivals)
    )
    return past / live if live else 0.0


def _report(
    begun: Begun,
    read: Read,
    alarms: Sequence[AlarmRow],
    voids: Sequence[Void],
    unreadable: Mapping[str, str],
) -> CycleReport:
    names, caught_up = begun.followed.names, _caught_up(read)
    unusable: Counter[str] = Counter()
    for arrivals in read.arrivals.values():
        unusable.update(arrivals.unusable)
    return CycleReport(
        pairs=sum(map(len, read.pairs)),
        labels=len(read.labels),
        lost_labels=len(read.swept.lost),
        unusable=dict(unusable),
        overflow=read.overflow,
        alarms=tuple(Alarm(a.id or 0, a.task, a.slice, a.artifact, a.decision, a.job_id) for a in alarms),
        voids=tuple(voids),
        joined=names if caught_up else (),
        catching_up={} if caught_up else dict.fromkeys(names, _share_read(read)),
        problems={**read.problems, **unreadable},
        is_behind=len(read.labels) >= LABELS_A_TICK
        or any(arrivals.is_behind for arrivals in read.arrivals.values())
        or (begun.followed.more_wait if caught_up else _past_is_behind(read)),
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
        "lost_labels": before.get("lost_labels", 0) + report.lost_labels,
        "alarms": before.get("alarms", 0) + len(report.alarms),
        "unusable": dict(unusable),
        "overflow": dict(overflow),
        "catching_up": dict(report.catching_up),
        "is_behind": report.is_behind,
        "problems": dict(report.problems),
    }


def _source(gateway: str) -> str:
    return f"answers:{gateway}"
