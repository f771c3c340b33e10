"""Kills ticks of a deployment, and compares what is left with one whose ticks were never killed."""

import random
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sqlmodel import Session

from ledger.audit import first_broken_audit_row
from ledger.tables import HeartbeatRow
from monitor.cycle import PROCESS
from monitor.reports import merged_sums
from tests.monitor.deployed import Deployment, State, state_of
from tests.monitor.folded import Folded
from tests.monitor.history import (
    FAR_US,
    LENGTH,
    SECOND_US,
    SHORT,
    SIZE,
    TICK_US,
    Declared,
    Operation,
    Ticked,
    Traffic,
    burst,
    plan,
)
from tests.monitor.killing import Before, Order, TickProcesses, run_tick
from tests.monitor.world import TASK

FORGOTTEN = ("slice_sums", "detector", "label_watch", "cursor")  # of changed rules, before anything is read
A_TICK = 160  # moments, about


@dataclass(frozen=True, slots=True)
class History:
    """What happened around the ticks that were committed; those that a kill undid are not in it."""

    committed: Sequence[Operation]
    kills: int
    undone: int


def rich_tick(directory: Path) -> Order:
    """Files before a tick that does everything that ticks do: pairs, audits and corrected labels of three gateways,
    a new rule and a changed one, alarms, a job, void certificates, lost labels."""
    deployment = Deployment(directory / "rich")
    traffic = Traffic(random.Random(1), deployment.students[1:], windows=1)
    quiet = [Declared((LENGTH,)), *burst(traffic, 40, wrong=0.0), Ticked(TICK_US), Ticked(2 * TICK_US)]
    for operation in (*quiet, Declared((SHORT, SIZE)), *burst(traffic, 40, wrong=0.9)):
        deployment.apply(operation)
    deployment.close()
    return deployment.order(Ticked(FAR_US, past=1000))


def first_tick(directory: Path) -> Order:
    """Exchanges that came before the monitor and its control file did."""
    deployment = Deployment(directory / "first")
    for operation in burst(Traffic(random.Random(2), deployment.students, windows=1), 10, wrong=0.5):
        deployment.apply(operation)
    deployment.close()
    (deployment.directory / "control.sqlite").unlink()
    return deployment.order(Ticked(TICK_US))


def every_moment(processes: TickProcesses, order: Order, before: Before, step: int = 1) -> list[str]:
    """Kill the tick at every `step`-th of its moments, the last one among them; what each kill left of it: untouched,
    begun or committed.

    The next tick is run on every state that was left, and has to end where the one that nobody killed did.
    """
    untouched, work = state_of(Path(order.directory)), Path(order.directory).parent / "work"
    committed, repeated = (_after(order, work, ticks) for ticks in (1, 2))
    lived = processes.tick(replace(_copied(order, work), before=before))
    assert (lived.status, state_of(work)) == (0, committed)
    found: list[str] = []
    restarted: list[State] = []
    for number in range((lived.moments - 1) % step + 1, lived.moments + 1, step):
        copy = _copied(order, work)
        assert processes.tick(replace(copy, before=before, number=number)).was_killed
        state = state_of(work)
        found.append(_kind(state, untouched, committed))
        if state not in restarted:
            restarted.append(state)
            run_tick(copy)
            assert state_of(work) == (repeated if state == committed else committed)
    return found


def random_history(
    rng: random.Random, processes: TickProcesses, deployment: Deployment, steps: int, tracing: bool
) -> History:
    """Most ticks are killed somewhere. The next one comes at once, or when more has happened; before other rules are
    declared one is let live, since a tick that was undone has taken note of the rules already."""
    committed: list[Operation] = []
    kills = undone = 0
    last_us, is_owed = 0, False
    for operation in plan(rng, Traffic(rng, deployment.students), steps):
        if isinstance(operation, Ticked):
            last_us = operation.now_us
            for _ in range(rng.choice((1, 1, 2, 3))):
                tick = Ticked(last_us := last_us + SECOND_US)
                ended = processes.tick(deployment.order(tick, *_moment(rng, tracing)))
                assert ended.was_killed or ended.status == 0
                kills += ended.was_killed
                if not (is_owed := _last_tick_us(deployment) != last_us):
                    committed.append(tick)
                    break
                undone += 1
            continue
        if isinstance(operation, Declared) and is_owed:
            committed.append(_let_live(deployment, Ticked(last_us := last_us + SECOND_US)))
            is_owed = False
        deployment.apply(operation)
        committed.append(operation)
    for _ in range(3):  # those that catch up, those that wait for them, and nothing
        committed.append(_let_live(deployment, Ticked(last_us := last_us + SECOND_US, past=1000)))
    return History(committed, kills, undone)


def check_against_never_killed(history: History, killed: Deployment, directory: Path) -> None:
    """Every row of the control file; and the sums against the definitions, folded once over everything."""
    other, folded = Deployment(directory), Folded()
    for operation in history.committed:
        other.apply(operation)
        folded.apply(operation)
    assert state_of(killed.directory) == state_of(other.directory)
    for artifact in killed.students:
        with Session(killed.engine) as session:
            found = merged_sums(session, TASK, artifact)
            assert merged_sums(session, TASK, artifact, since_us=0) == found
            assert first_broken_audit_row(session) is None
        expected = {name: sums for (student, name), sums in folded.sums().items() if student == artifact}
        assert {name: found[name] for name in expected} == expected
    other.close()


def _moment(rng: random.Random, tracing: bool) -> tuple[Before, int]:
    if rng.random() < 0.2:
        return "statement", 0
    before: Before = "call" if tracing and rng.random() < 0.3 else "statement"
    return before, rng.randrange(1, A_TICK)


def _let_live(deployment: Deployment, tick: Ticked) -> Ticked:
    deployment.apply(tick)
    return tick


def _last_tick_us(deployment: Deployment) -> int | None:
    """Of the last that was committed."""
    with Session(deployment.engine) as session:
        row = session.get(HeartbeatRow, PROCESS)
    return None if row is None else int(row.report["tick_at_us"])


def _copied(order: Order, work: Path) -> Order:
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(order.directory, work)
    return replace(order, directory=str(work))


def _after(order: Order, work: Path, ticks: int) -> State:
    copy = _copied(order, work)
    for _ in range(ticks):
        run_tick(copy)
    return state_of(work)


def _kind(state: State, untouched: State, committed: State) -> str:
    if state in (untouched, committed):
        return "untouched" if state == untouched else "committed"
    for table, rows in state.items():
        before = untouched.get(table, ())
        if table in FORGOTTEN:
            assert set(rows) <= set(before), table
        elif table != "slice_rule":
            assert list(rows) == list(before), table
    return "begun"
