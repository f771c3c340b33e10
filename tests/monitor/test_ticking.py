"""The loop around the ticks: it outlives a locked control file and says each thing once."""

import logging
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread

import pytest
from sqlalchemy import Engine, event

from ledger.clock import now_us
from ledger.exchange_file import ExchangeFile
from monitor.cycle import CycleReport, run_cycle
from monitor.ticking import tick_until
from tests.monitor.world import build_configuration, traffic


def wait_for(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


@pytest.fixture
def impatient(engine: Engine) -> Engine:
    """An engine that waits 20 ms for a lock, so that a test of locks is short."""
    engine.dispose()

    @event.listens_for(engine, "connect")
    def _short_wait(connection: sqlite3.Connection, _: object) -> None:
        connection.execute("PRAGMA busy_timeout = 20")

    return engine


def test_a_locked_control_file_is_said_once_and_survived(
    tmp_path: Path, impatient: Engine, exchanges: ExchangeFile, caplog: pytest.LogCaptureFixture
) -> None:
    """Ticks go on failing while it is locked; the first one after it does all the work."""
    configuration = build_configuration(tmp_path)
    exchanges.append(*traffic(3, "s-1"))
    reports: list[CycleReport] = []
    tries: list[int] = []

    def tick() -> CycleReport:
        tries.append(1)
        report = run_cycle(impatient, configuration, now_us())
        reports.append(report)
        return report

    locker = sqlite3.connect(tmp_path / "control.sqlite", isolation_level=None)
    locker.execute("BEGIN EXCLUSIVE")
    stop = Event()
    with caplog.at_level(logging.INFO, "monitor"):
        thread = Thread(target=tick_until, args=(stop, tick, 0.01))
        thread.start()
        wait_for(lambda: len(tries) >= 4)
        assert reports == []
        locker.execute("ROLLBACK")
        wait_for(lambda: len(reports) >= 2)
        stop.set()
        thread.join()
    locker.close()

    said = [message for message in caplog.messages if "control_unavailable" in message]
    assert len(said) == 2  # when it began, and when it was over
    assert "database is locked" in said[0]
    assert "action=recovered" in said[1]
    assert sum(report.pairs for report in reports) == 3


def test_a_backlog_is_worked_off_without_pause(caplog: pytest.LogCaptureFixture) -> None:
    """Only a tick that found nothing more waits for the next one."""
    stop = Event()
    left = [3, 2, 1, 0]

    def tick() -> CycleReport:
        behind = left.pop(0) > 0
        if not behind:
            stop.set()
        return CycleReport(is_behind=behind)

    tick_until(stop, tick, 3600.0)

    assert left == []
