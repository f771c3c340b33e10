"""A monitor that is killed, at moments all over one tick and at random ones of many, loses and repeats nothing.

Every statement and every system call has its turn in tests/reliability/test_monitor_kills.py.
"""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.monitor.crashes import (
    check_against_never_killed,
    every_moment,
    first_tick,
    random_history,
    rich_tick,
)
from tests.monitor.deployed import Deployment, state_of
from tests.monitor.killing import TickProcesses, can_trace, run_tick


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TickProcesses]:
    with TickProcesses(rich_tick(tmp_path_factory.mktemp("warm"))) as processes:
        yield processes


@pytest.fixture(scope="module")
def untraceable() -> str | None:
    return can_trace()


@pytest.mark.slow
def test_a_tick_killed_before_statements(processes: TickProcesses, tmp_path: Path) -> None:
    """Nothing of the tick is there or all of it, and the next one ends in the same state, bit for bit."""
    left = every_moment(processes, rich_tick(tmp_path), "statement", step=61)

    assert left == sorted(left, key=["untouched", "begun", "committed"].index)
    assert min(map(left.count, ("untouched", "begun", "committed"))) > 0


@pytest.mark.slow
def test_a_tick_killed_before_system_calls(
    processes: TickProcesses, untraceable: str | None, tmp_path: Path
) -> None:
    """Every 97th of those that change a file, in the middle of commits too."""
    if untraceable:
        pytest.skip(untraceable)
    left = every_moment(processes, rich_tick(tmp_path), "call", step=97)

    assert left == sorted(left, key=["untouched", "begun"].index)  # the last call of all is what commits
    assert min(map(left.count, ("untouched", "begun"))) > 0


def test_the_tick_that_is_killed_does_everything(tmp_path: Path) -> None:
    """Of what a tick can do nothing was forgotten."""
    order = rich_tick(tmp_path)
    before = state_of(Path(order.directory))
    run_tick(order)
    after = state_of(Path(order.directory))

    grown = {table for table in after if len(after[table]) > len(before[table])}
    assert grown == {"alarm", "audit", "cursor", "job", "slice_rule", "slice_sums"}
    assert len(after["label"]) < len(before["label"])
    assert "alarm" in {row[5] for row in after["certified_slice"]}
    assert after["detector"] != before["detector"]


def test_a_first_start_that_is_killed(processes: TickProcesses, tmp_path: Path) -> None:
    """While the control file is being made, too."""
    left = every_moment(processes, first_tick(tmp_path), "statement", step=31)

    assert left == sorted(left, key=["untouched", "begun", "committed"].index)
    assert len(set(left)) == 3


@pytest.mark.slow
def test_ticks_killed_at_random(processes: TickProcesses, untraceable: str | None, tmp_path: Path) -> None:
    """Among late answers, repeats, labels in any order, rules that come and change, and exchanges that are removed."""
    killed = Deployment(tmp_path / "killed")
    history = random_history(random.Random(0), processes, killed, 80, tracing=not untraceable)

    assert history.kills > 5
    check_against_never_killed(history, killed, tmp_path / "never killed")
    killed.close()
