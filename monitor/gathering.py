"""What lies beyond the monitor's cursors: read from every exchange file before anything is written."""

import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from sqlalchemy import Engine

from ledger.artifacts import GateReport
from ledger.control_file import transaction
from ledger.exchange import parse_exchange_id
from ledger.tables import LabelRow
from monitor.cardinality import SliceNames, bounded, slice_names
from monitor.columns import PairColumns, without_overall
from monitor.declared_rules import Followed
from monitor.lost_labels import Swept, sweep
from monitor.reading import Arrivals, Limits, Tasks, read_arrivals

SWEPT = "labels/swept"  # cursor source: labels up to here have their exchange, or were removed
LABELS = "labels"  # cursor source; an exchange file's is "answers:<gateway>"
A_TICK = Limits(answers=40_000, pairs=100_000)  # of each gateway; the rest waits for the next tick, at once

Reports = Mapping[str, Mapping[str, GateReport | None]]  # by task and artifact


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

    @property
    def caught_up(self) -> bool:
        """Both readers stand at the same answer of every gateway. One that cannot be read now is waited for."""
        return not self.problems and _positions(self.arrivals) == _positions(self.past.arrivals)

    @property
    def is_behind(self) -> bool:
        return any(arrivals.is_behind for arrivals in self.arrivals.values())

    @property
    def past_is_behind(self) -> bool:
        return any(arrivals.is_behind for arrivals in self.past.arrivals.values())

    @property
    def share_of_past(self) -> float:
        """How much of it the rules that catch up have read."""
        past, live = (sum(_positions(some).values()) for some in (self.past.arrivals, self.arrivals))
        return past / live if live else 0.0


def gather(begun: Begun, files: Mapping[str, Path], tasks: Tasks, limits: Limits) -> Read:
    """`limits` are those of the rules that catch up. A file that cannot be read is skipped, and told."""
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
    position = begun.positions[source_of(gateway)]
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
    position = begun.past[source_of(gateway)]
    found = read_arrivals(path, position, limits, some, asked_about, rules, upto)
    pairs, known = (tuple(map(without_overall, part)) for part in (found.pairs, found.known))
    return replace(found, pairs=pairs, known=known)


def _columns(arrivals: Mapping[str, Arrivals]) -> tuple[tuple[PairColumns, ...], tuple[PairColumns, ...]]:
    """The new pairs of all gateways, and the known ones."""
    pairs = tuple(columns for one in arrivals.values() for columns in one.pairs)
    return pairs, tuple(columns for one in arrivals.values() for columns in one.known)


def bounded_slices(engine: Engine, read: Read, tasks: Tasks, reports: Reports) -> Read:
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


def _positions(arrivals: Mapping[str, Arrivals]) -> dict[str, int]:
    return {gateway: found.position for gateway, found in arrivals.items()}


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


def source_of(gateway: str) -> str:
    """The cursor source of a gateway's exchange file."""
    return f"answers:{gateway}"
