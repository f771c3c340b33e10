"""SIGTERM and SIGKILL under load, again and again over one exchange file."""

import signal
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from ledger.exchange_file import exchange_path
from tests.gateway.running import Running, call, start_gateway, wait_until
from tests.reliability.callers import Seen, closed_load
from tests.reliability.images import integrity_of
from tests.reliability.promises import Ledger, check_ledger
from tests.reliability.rows import Row
from tests.reliability.scale import sized
from tests.reliability.teachers import nginx_teacher

CALLERS = 8
LOSS_SECONDS = 1.0  # far above the window; what was measured stands in the table


def ready(running: Running) -> None:
    wait_until(lambda: call(running.operations_port, "GET", "/readyz").status == 200)


@pytest.mark.row("F14")
def test_terminated_under_load(row: Row, tmp_path: Path) -> None:
    """SIGTERM while callers ask: what had begun is answered whole, the process ends with 0, nothing is lost."""
    times = sized(2, 15, 50)
    row.size = f"{times} times, {CALLERS} callers"
    with nginx_teacher(tmp_path / "teacher") as teacher:
        ledger = Ledger(teacher=teacher)
        for _ in range(times):
            running = start_gateway(tmp_path, teacher.url)
            with closed_load(running.port, CALLERS) as load:
                wait_until(lambda load=load: load.answered() > 20)
                time.sleep(row.rng.uniform(0, 0.2))
                running.process.send_signal(signal.SIGTERM)
                assert running.process.wait(30) == 0
                load.stop()
            assert not [seen for seen in load.seen if seen.status and not seen.complete]
            ledger.seen += load.seen
        running = start_gateway(tmp_path, teacher.url)
        ready(running)
        check_ledger(row, running, ledger)
        assert running.stop() == 0
    answered = {seen.request for seen in ledger.seen if seen.status}
    unanswered = [request for request in teacher.asked() if request not in answered]
    assert not unanswered, "requests reached the teacher and were not answered"


@pytest.mark.row("F15")
def test_killed_at_a_random_moment(row: Row, tmp_path: Path) -> None:
    """SIGKILL while callers ask: the file stays whole, every answered request is recorded or counted as lost in
    the crash, and what was lost had been answered within the window."""
    times = sized(3, 30, 200)
    row.size = f"{times} kills, {CALLERS} callers"
    windows: list[float] = []
    with nginx_teacher(tmp_path / "teacher") as teacher:
        ledger = Ledger(teacher=teacher, drops=frozenset({"crash"}))
        for _ in range(times):
            running = start_gateway(tmp_path, teacher.url)
            with closed_load(running.port, CALLERS) as load:
                wait_until(lambda load=load: load.answered() > 20)
                time.sleep(row.rng.uniform(0, 0.3))
                killed_at = time.monotonic()
                running.kill()
                load.stop()
            assert integrity_of(exchange_path(tmp_path, "g0")) == "ok"
            windows.append(window_of(load.seen, recorded_ids(running), killed_at))
            ledger.seen += load.seen
        running = start_gateway(tmp_path, teacher.url)
        check_ledger(row, running, ledger, {})
        accounts = running.accounts()
        assert running.stop() == 0
    row.note(
        lost_in_crashes=int(accounts.get("crash", 0)),
        window_median_ms=round(statistics.median(windows) * 1e3, 1),
        window_largest_ms=round(max(windows) * 1e3, 1),
    )
    assert max(windows) < LOSS_SECONDS


def recorded_ids(running: Running) -> set[str]:
    return {exchange.exchange_id for exchange in running.exchanges()}


def window_of(seen: Sequence[Seen], recorded: set[str], stopped_at: float) -> float:
    """How long before the stop the oldest answer was received whose exchange is not in the file."""
    lost = [one.ended_at for one in seen if one.complete and one.exchange and one.exchange not in recorded]
    return max(0.0, stopped_at - min(lost)) if lost else 0.0
