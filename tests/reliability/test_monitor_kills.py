"""The monitor killed at every moment: what it keeps is as if nobody had."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.monitor.crashes import (
    check_against_never_killed,
    every_moment,
    first_tick,
    random_history,
    rich_tick,
)
from tests.monitor.deployed import Deployment
from tests.monitor.killing import Before, Order, TickProcesses, can_trace
from tests.reliability.rows import Row
from tests.reliability.scale import sized

UNTRACEABLE = can_trace() if sized(0, 1, 1) else "`make test` has tests/monitor/test_crashes.py"


@pytest.mark.row("F28")
@pytest.mark.skipif(bool(UNTRACEABLE), reason=str(UNTRACEABLE))
@pytest.mark.parametrize("before", ["statement", "call"])
@pytest.mark.parametrize("tick", [rich_tick, first_tick])
def test_monitor_killed_at_every_moment(
    row: Row, tick: Callable[[Path], Order], before: Before, tmp_path: Path
) -> None:
    """SIGKILL before each SQL statement, and before each system call that changes a file, of a tick that does
    everything and of a first start: nothing of it is there or all of it, and the next tick ends in the same state."""
    with TickProcesses(rich_tick(tmp_path / "warm")) as processes:
        left = every_moment(processes, tick(tmp_path), before)
    row.size = f"{len(left)} kills of one tick"
    row.note(**{name: left.count(name) for name in ("untouched", "begun", "committed")})
    assert left == sorted(left, key=["untouched", "begun", "committed"].index)


@pytest.mark.row("F28")
@pytest.mark.skipif(bool(UNTRACEABLE), reason=str(UNTRACEABLE))
def test_monitor_killed_at_random(row: Row, tmp_path: Path) -> None:
    """Traffic of three gateways, late answers, labels, changing rules and retention among ticks that are killed: every
    row of the control file is that of ticks that were not, and the sums are those of the definitions."""
    histories = sized(0, 10, 200)
    row.size = f"{histories} histories of 400 steps"
    with TickProcesses(rich_tick(tmp_path / "warm")) as processes:
        for number in range(histories):
            killed = Deployment(tmp_path / f"killed{number}")
            rng = random.Random(row.rng.randrange(2**31))
            history = random_history(rng, processes, killed, 400, tracing=True)
            check_against_never_killed(history, killed, tmp_path / f"never killed{number}")
            killed.close()
            row.add(kills=history.kills, undone=history.undone)
