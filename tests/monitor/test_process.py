"""The monitor as a process: its exits, its metrics, and SIGKILL at any moment."""

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from sqlalchemy import Engine
from sqlmodel import Session

from ledger.exchange_file import ExchangeFile
from ledger.tables import HeartbeatRow
from monitor.reports import merged_sums
from tests.monitor.world import TASK, send_label, shadowed

CONFIGURATION = """
[deployment]
name = "test"
data_directory = "."

[monitor]
listen = "127.0.0.1:{port}"
tick_seconds = 0.05

[[task]]
name = "desk"
classes = ["a", "b"]
dialect = "huggingface"
paths = ["/desk"]
teacher = {{ url = "http://127.0.0.1:1", version = "1" }}
capture = {{ inputs = "text" }}
governance = {{ owner = "o", sponsor = "s", driver = "d", validator = "v", operator = "op" }}

[[task.slice]]
name = "area"
header = "x-area"
"""


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def configuration_path(tmp_path: Path, port: int) -> Path:
    path = tmp_path / "stillgate.toml"
    path.write_text(CONFIGURATION.format(port=port))
    return path


Start = Callable[[], subprocess.Popen[str]]


@pytest.fixture
def start(configuration_path: Path) -> Iterator[Start]:
    started: list[subprocess.Popen[str]] = []

    def start() -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "monitor", "--config", str(configuration_path)],
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def wait_for(condition: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def folded(engine: Engine) -> int:
    with Session(engine) as session:
        heartbeat = session.get(HeartbeatRow, "monitor")
    return 0 if heartbeat is None else int(heartbeat.report["pairs"])


def write_traffic(file: ExchangeFile, engine: Engine, sequences: range) -> None:
    """Every third disagrees, every fourth is labelled before it is known, in area a or b."""
    for sequence in sequences:
        if sequence % 4 == 0:
            send_label(engine, f"g0-{sequence}", "a")
        area = {"x-area": "ab"[sequence % 2]}
        exchange, answer = shadowed(sequence, sequence % 3 != 0, attributes=area)
        file.append([exchange], [answer])


def test_it_ticks_serves_metrics_and_stops_cleanly(
    start: Start, port: int, engine: Engine, exchanges: ExchangeFile
) -> None:
    """SIGTERM ends it with status 0 after the tick in progress; it keeps off one processor meanwhile."""
    process = start()
    write_traffic(exchanges, engine, range(30))
    wait_for(lambda: folded(engine) == 30)
    ours = os.sched_getaffinity(0)
    assert os.sched_getaffinity(process.pid) == (ours - {min(ours)} or ours)

    address = f"http://127.0.0.1:{port}"
    assert httpx.get(f"{address}/livez").text == "ok\n"
    assert "stillgate_monitor_pairs_total 30.0" in httpx.get(f"{address}/metrics").text
    assert httpx.get(f"{address}/other").status_code == 404
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=20)

    assert process.returncode == 0
    assert "action=started" in errors
    assert "action=stopped" in errors
    assert "Traceback" not in errors


def test_killed_again_and_again_it_loses_and_repeats_nothing(
    start: Start, engine: Engine, exchanges: ExchangeFile
) -> None:
    """Three runs are cut down by SIGKILL among traffic and labels; the sums are exact in the end."""
    generator, written = random.Random(3), 0
    for _ in range(3):
        process, before = start(), folded(engine)
        target = written + 40
        while folded(engine) <= before:
            write_traffic(exchanges, engine, range(written, written + 2))
            written += 2
        while written < target:
            write_traffic(exchanges, engine, range(written, written + 1))
            written += 1
        time.sleep(generator.random() * 0.1)  # any moment of a tick will do: it is what the test is about
        process.kill()
        process.wait()
    write_traffic(exchanges, engine, range(written, written + 10))
    written += 10
    start()
    wait_for(lambda: folded(engine) >= written)

    with Session(engine) as session:
        sums = merged_sums(session, TASK, "s-1")
    expected = {
        "all": range(written),
        "area=a": range(0, written, 2),
        "area=b": range(1, written, 2),
    }
    assert {name: (s.pairs, s.disagreements, s.labelled) for name, s in sums.items()} == {
        name: (len(n), sum(s % 3 == 0 for s in n), sum(s % 4 == 0 for s in n)) for name, n in expected.items()
    }


def test_a_taken_port_is_named(start: Start, port: int) -> None:
    """Exit status 1 and the address in one line."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        process = start()
        _, errors = process.communicate(timeout=30)

    assert process.returncode == 1
    assert f"monitor.listen = 127.0.0.1:{port} cannot be had" in errors
    assert "Traceback" not in errors


def test_a_wrong_configuration_is_refused(start: Start, configuration_path: Path) -> None:
    """Exit status 2 and the problem in words."""
    configuration_path.write_text("[deployment]\nnam = 1\n")
    process = start()
    _, errors = process.communicate(timeout=30)

    assert process.returncode == 2
    assert "deployment.nam: this key is unknown" in errors
    assert "Traceback" not in errors


def test_a_control_file_that_is_none_is_refused(start: Start, tmp_path: Path) -> None:
    """Exit status 1, naming the folder."""
    (tmp_path / "control.sqlite").write_bytes(b"certainly no database " * 400)
    process = start()
    _, errors = process.communicate(timeout=30)

    assert process.returncode == 1
    assert f"The control file in {tmp_path}" in errors
    assert "Traceback" not in errors
