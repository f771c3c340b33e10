"""Which slice rules the monitor measures: those declared before, and new ones that first catch up with the past.

A rule that is new, or whose definition changed, is folded over every stored exchange again, from the first, beside
the live reading; it joins the live reading at the moment when both have read the same answers. So no pair is
missed or counted twice, wherever a tick, a crash or a reload falls.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from sqlmodel import Session, col, delete, func, select

from ledger.clock import now_us
from ledger.slices import OVERALL, SliceRule
from ledger.tables import CursorRow, DetectorRow, LabelWatchRow, SliceRuleRow, SumsRow
from monitor.columns import PairColumns
from monitor.reading import Rules, Tasks
from monitor.reports import WHOLE_LIFE
from monitor.slicing import NO_SLICE

MAX_US = 2**63 - 1


class Phase(StrEnum):
    """How far a rule is."""

    JOINED = "joined"  # its slices hold every pair that the monitor has read
    CATCHING_UP = "catching_up"  # being folded over the past
    WAITING = "waiting"  # until those that catch up now have joined
    GONE = "gone"  # no longer declared: its sums stay as they are, and are made anew if it comes back


@dataclass(frozen=True, slots=True)
class Followed:
    """What one tick folds."""

    joined: Rules
    catching_up: Rules  # only tasks that have some
    more_wait: bool  # they begin when those have joined

    @property
    def names(self) -> tuple[str, ...]:
        """`task/rule` of those that catch up."""
        return tuple(f"{task}/{rule.name}" for task, rules in self.catching_up.items() for rule in rules)


def settle(session: Session, tasks: Tasks, reader: str, follower: str) -> Followed:
    """Take note of what is declared now, and begin with what is new; the cursors are those of the two readers."""
    rows = {(row.task, row.rule): row for row in session.exec(select(SliceRuleRow))}
    has_read = session.exec(select(CursorRow).where(CursorRow.reader == reader, col(CursorRow.position) > 0))
    nothing_read = has_read.first() is None
    for task in tasks.values():
        declared = {rule.name: rule.definition for rule in task.rules}
        for (of_task, name), row in rows.items():
            if of_task == task.name and name not in declared:
                row.phase = Phase.GONE
        for name, definition in declared.items():
            _declare(session, rows, (task.name, name), definition, nothing_read)
    _begin_with_waiting(session, list(rows.values()), follower)
    return followed(session, tasks)


def followed(session: Session, tasks: Tasks) -> Followed:
    """As the control file has it."""
    phases = {(row.task, row.rule): row.phase for row in session.exec(select(SliceRuleRow))}

    def at(phase: Phase) -> dict[str, list[SliceRule]]:
        return {
            task.name: [rule for rule in task.rules if phases.get((task.name, rule.name)) == phase]
            for task in tasks.values()
        }

    catching_up = {name: rules for name, rules in at(Phase.CATCHING_UP).items() if rules}
    return Followed(at(Phase.JOINED), catching_up, any(at(Phase.WAITING).values()))


def earliest(pages: Iterable[PairColumns]) -> dict[tuple[str, str], int]:
    """By task and rule, the first start of an exchange that is in one of the rule's slices."""
    found: dict[tuple[str, str], int] = {}
    for columns in pages:
        for column in columns.slices:
            inside = columns.at_us[column.codes != NO_SLICE]
            if column.rule != OVERALL and len(inside):
                key = columns.task, column.rule
                found[key] = min(int(inside.min()), found.get(key, MAX_US))
    return found


def note_earliest(session: Session, starts: Mapping[tuple[str, str], int]) -> None:
    """From when on each rule tells something."""
    for row in session.exec(select(SliceRuleRow)) if starts else ():
        start = starts.get((row.task, row.rule), MAX_US)
        if start < (MAX_US if row.since_us is None else row.since_us):
            row.since_us = start


def join(session: Session, follower: str) -> None:
    """Those that catch up have read what the live reader has."""
    for row in session.exec(select(SliceRuleRow).where(SliceRuleRow.phase == Phase.CATCHING_UP)):
        row.phase = Phase.JOINED
    session.exec(delete(CursorRow).where(col(CursorRow.reader) == follower))


def _declare(
    session: Session,
    rows: dict[tuple[str, str], SliceRuleRow],
    key: tuple[str, str],
    definition: str,
    nothing_read: bool,
) -> None:
    """`nothing_read`: there is no past, so the rule is in time."""
    row = rows.get(key)
    if row is not None and row.definition == definition and row.phase != Phase.GONE:
        return
    if row is None:
        # files of an earlier release have sums of their rules and no list of them
        since_us = _first_window(session, *key)
        row = SliceRuleRow(
            task=key[0],
            rule=key[1],
            definition=definition,
            phase=Phase.JOINED if nothing_read or since_us is not None else Phase.WAITING,
            declared_at_us=now_us(),
            since_us=since_us,
        )
        session.add(row)
        rows[key] = row
        return
    _forget(session, *key)
    row.definition, row.phase, row.declared_at_us = definition, Phase.WAITING, now_us()
    row.since_us = None


def _begin_with_waiting(session: Session, rows: Sequence[SliceRuleRow], follower: str) -> None:
    """One group at a time, from the first stored answer."""
    if any(row.phase == Phase.CATCHING_UP for row in rows):
        return
    waiting = [row for row in rows if row.phase == Phase.WAITING]
    if waiting:
        session.exec(delete(CursorRow).where(col(CursorRow.reader) == follower))
    for row in waiting:
        row.phase = Phase.CATCHING_UP


def _first_window(session: Session, task: str, rule: str) -> int | None:
    """Start of the first window with sums of the rule, if it has any."""
    first, end = _prefix(rule)
    start, name = col(SumsRow.window_start_us), col(SumsRow.slice)
    of_rule = select(func.min(start)).where(SumsRow.task == task, name >= first, name < end)
    return session.exec(of_rule.where(start != WHOLE_LIFE)).one()


def _forget(session: Session, task: str, rule: str) -> None:
    """What an earlier definition put into slices of this name."""
    first, end = _prefix(rule)
    for table in (SumsRow, DetectorRow, LabelWatchRow):
        name = col(table.slice)
        session.exec(delete(table).where(col(table.task) == task, name >= first, name < end))


def _prefix(rule: str) -> tuple[str, str]:
    """Every slice of the rule, and none of another, lies in [first, end)."""
    return f"{rule}=", f"{rule}>"  # > follows =
