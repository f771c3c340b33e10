"""Reads what the teacher said to probes, keeps what it shows, and writes a change down once."""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine
from sqlmodel import Session

from ledger.audit import append_audit
from ledger.configuration import Configuration, TaskSection
from ledger.control_file import transaction
from ledger.cursors import advance_cursor, cursor
from ledger.exchange_file import reading
from ledger.probe_replies import ProbeReply, replies_after
from ledger.tables import ProbeWatchRow, TeacherChangeRow
from ledger.teacher_changes import ChangeKind, sentence_of
from monitor.probe_state import plain, read_watch
from monitor.probe_watch import Change, ProbeWatch, watched

READER = "monitor"
REPLIES_A_TICK = 1000  # of each gateway


@dataclass(frozen=True, slots=True)
class Replies:
    """What one exchange file holds beyond the cursor."""

    position: int  # before
    numbered: Sequence[tuple[int, ProbeReply]]


def new_replies(
    engine: Engine, configuration: Configuration, files: Mapping[str, Path]
) -> dict[str, Replies]:
    """By gateway. A file that cannot be read now is read at a later tick."""
    if not any(task.probe is not None for task in configuration.task):
        return {}
    with transaction(engine) as session:
        positions = {gateway: cursor(session, READER, _source(gateway)) for gateway in files}
    found = {
        gateway: Replies(position, _after(files[gateway], position))
        for gateway, position in positions.items()
    }
    return {gateway: replies for gateway, replies in found.items() if replies.numbered}


def fold_replies(
    session: Session, configuration: Configuration, found: Mapping[str, Replies], now_us: int
) -> list[TeacherChangeRow]:
    """Add these to what is known, inside the caller's transaction; the changes that they show."""
    changes: list[TeacherChangeRow] = []
    replies = list(_current(session, found))
    for task in configuration.task:
        of_task = [(gateway, reply) for gateway, reply in replies if reply.task == task.name]
        if of_task and task.probe is not None:
            of_task.sort(key=lambda one: one[1].asked_at_us)
            changes += _fold(session, task, of_task, now_us)
    return changes


def probe_watch(session: Session, task: str) -> ProbeWatch | None:
    """What is known of a task's teacher from its probes."""
    row = session.get(ProbeWatchRow, task)
    return None if row is None else read_watch(row.state)


def _after(path: Path, position: int) -> Sequence[tuple[int, ProbeReply]]:
    try:
        with reading(path) as connection:
            return replies_after(connection, position, REPLIES_A_TICK)
    except sqlite3.Error:
        return ()


def _current(session: Session, found: Mapping[str, Replies]) -> Iterator[tuple[str, ProbeReply]]:
    """Those that nobody else has folded meanwhile; the cursors move behind them."""
    for gateway, replies in found.items():
        if cursor(session, READER, _source(gateway)) == replies.position:
            advance_cursor(session, READER, _source(gateway), replies.numbered[-1][0])
            yield from ((gateway, reply) for _, reply in replies.numbered)


def _fold(
    session: Session, task: TaskSection, replies: Sequence[tuple[str, ProbeReply]], now_us: int
) -> list[TeacherChangeRow]:
    assert task.probe is not None
    watch, rows = probe_watch(session, task.name), []
    for gateway, reply in replies:
        watch, changes = watched(watch, reply, gateway, task.probe)
        rows += [_write(session, task, change, watch.probe_set, now_us) for change in changes]
    if watch is not None:
        session.merge(ProbeWatchRow(task=task.name, state=plain(watch)))
    return rows


def _write(
    session: Session, task: TaskSection, change: Change, probe_set: str, now_us: int
) -> TeacherChangeRow:
    assert task.probe is not None
    voids = change.kind is not ChangeKind.FINGERPRINT or task.probe.on_fingerprint == "void"
    row = TeacherChangeRow(
        task=task.name,
        at_us=now_us,
        kind=change.kind,
        voids=voids,
        before=change.before,
        after=change.after,
        probe_set=probe_set,
        evidence=dict(change.evidence),
    )
    session.add(row)
    session.flush()
    details = {"change": row.id, "task": task.name, "kind": str(change.kind), "voids": voids}
    append_audit(session, READER, "teacher_changed", details | {"reason": sentence_of(row)})
    return row


def _source(gateway: str) -> str:
    return f"probes:{gateway}"
