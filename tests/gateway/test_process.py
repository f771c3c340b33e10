"""The process as its supervisor and its disk see it: start, faults, SIGTERM, SIGKILL, and the accounts after each."""

import http.client
import resource
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from ledger.exchange_file import exchange_path
from tests.gateway.running import (
    PATIENCE_SECONDS,
    Running,
    assert_identity,
    call,
    gateway,
    start_gateway,
    wait_until,
    write_configuration,
)
from tests.gateway.teachers import TeacherApp

FAILING = 'stillgate_degraded{part="store"}'


def run_to_its_end(configuration: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "gateway", "--config", str(configuration)]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Another connection holds the write lock."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


@contextmanager
def full_disk(running: Running) -> Iterator[None]:
    """No file of the process can grow or be written any more."""
    _, hard = resource.prlimit(running.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(running.process.pid, resource.RLIMIT_FSIZE, (0, hard))
    yield
    resource.prlimit(running.process.pid, resource.RLIMIT_FSIZE, (hard, hard))


@pytest.mark.parametrize("fault", ["locked", "full disk"])
def test_store_that_cannot_be_written(teacher_url: str, tmp_path: Path, fault: str) -> None:
    """Callers are served, what finds no room is dropped by reason, and writing goes on when the fault is over."""
    with gateway(tmp_path, teacher_url, gateway="record_queue_count = 5") as process:
        process.predict("before")
        process.settled()
        broken = locked(exchange_path(tmp_path, "g0")) if fault == "locked" else full_disk(process)
        with broken:
            assert process.predict("first").status == 200
            wait_until(lambda: process.metrics()[FAILING] == 1)
            assert [process.predict("during").status for _ in range(20)] == [200] * 20
            accounts = process.accounts()
            assert_identity(accounts)
            assert (accounts["pending"], accounts["store_failed"]) == (5, 16)
            assert call(process.operations_port, "GET", "/readyz").status == 200
        accounts = process.settled()
        assert process.metrics()[FAILING] == 0
        assert accounts["recorded"] == 6
        process.predict("after")
        assert process.settled()["recorded"] == 7
        assert process.stop() == 0
    if fault == "locked":  # a full disk takes the log as well
        assert process.log.read_text().count("action=store_failed") == 1


def test_start_without_a_store(teacher_url: str, tmp_path: Path) -> None:
    """A store that cannot be opened at start costs no caller; its requests are counted, then recording begins."""
    obstacle = tmp_path / "exchanges"
    obstacle.write_text("a file where the folder should be")
    with gateway(tmp_path, teacher_url) as process:
        replies = [process.predict("lost") for _ in range(3)]
        assert {reply.status for reply in replies} == {200}
        assert {reply.header("x-stillgate-exchange") for reply in replies} == {None}
        assert process.accounts() == {"requests": 3, "recorded": 0, "pending": 0, "store_failed": 3}
        obstacle.unlink()
        wait_until(lambda: process.metrics()[FAILING] == 0)
        process.predict("kept")
        assert process.settled() == {"requests": 4, "recorded": 1, "pending": 0, "store_failed": 3}
        process.stop()
    with gateway(tmp_path, teacher_url) as process:
        assert process.accounts() == {"requests": 4, "recorded": 1, "pending": 0, "store_failed": 3}


def test_killed_under_load(teacher_url: str, teacher: TeacherApp, tmp_path: Path) -> None:
    """What a SIGKILL took becomes dropped{crash} at the next start, over several lives of the file."""
    lost_at_least = 0
    process = start_gateway(tmp_path, teacher_url)
    for _ in range(2):
        asked = len(teacher.seen)
        hanging = [socket.create_connection(("127.0.0.1", process.port)) for _ in range(3)]
        for connection in hanging:
            connection.sendall(b"POST /predict?wait=30 HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}")
        load = [threading.Thread(target=ask_until_it_dies, args=(process,)) for _ in range(4)]
        for thread in load:
            thread.start()
        wait_until(lambda asked=asked: len(teacher.seen) > asked + 100)
        process.kill()
        for thread in load:
            thread.join()
        for connection in hanging:
            connection.close()
        lost_at_least += 3
        process = start_gateway(tmp_path, teacher_url)
        accounts = process.accounts()
        assert_identity(accounts)
        assert accounts["crash"] >= lost_at_least
        assert accounts["recorded"] == len(process.exchanges())
    assert process.predict("after").status == 200
    assert process.stop() == 0


def ask_until_it_dies(process: Running) -> None:
    try:
        while True:
            process.predict("billing")
    except (OSError, http.client.HTTPException):
        return


def test_graceful_stop(teacher_url: str, teacher: TeacherApp, tmp_path: Path) -> None:
    """SIGTERM: not ready, a request in flight ends as usual, everything is written, exit status 0."""
    with gateway(tmp_path, teacher_url) as process:
        asked = len(teacher.seen)
        statuses: list[int] = []
        slow = threading.Thread(
            target=lambda: statuses.append(process.ask("POST", "/predict?wait=2", b'{"inputs":"x"}').status)
        )
        slow.start()
        wait_until(lambda: len(teacher.seen) > asked)
        process.process.send_signal(signal.SIGTERM)
        wait_until(lambda: call(process.operations_port, "GET", "/readyz").status == 503)
        assert call(process.operations_port, "GET", "/livez").status == 200
        slow.join()
        assert process.process.wait(PATIENCE_SECONDS) == 0
        assert statuses == [200]
    assert len(process.exchanges()) == 1
    with closing(sqlite3.connect(exchange_path(tmp_path, "g0"))) as connection:
        assert connection.execute("SELECT started FROM sequence_block").fetchall() == [(1,)]


def test_drain_time_is_over(teacher_url: str, teacher: TeacherApp, tmp_path: Path) -> None:
    """A request that outlasts the drain time is cut and counted as dropped{shutdown}; the exit status is 0."""
    with gateway(tmp_path, teacher_url, gateway="drain_seconds = 1", first_byte_seconds=60) as process:
        asked = len(teacher.seen)
        with socket.create_connection(("127.0.0.1", process.port)) as connection:
            connection.sendall(b"POST /predict?wait=50 HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}")
            wait_until(lambda: len(teacher.seen) > asked)
            assert process.stop() == 0
    with gateway(tmp_path, teacher_url) as process:
        assert process.accounts() == {"requests": 1, "recorded": 0, "pending": 0, "shutdown": 1}


@pytest.mark.parametrize("setting", ["listen", "operations_listen"])
def test_taken_port(tmp_path: Path, setting: str) -> None:
    """A port that is taken: one line that names setting and address, exit status 1, and no file touched."""
    path, port, operations_port = write_configuration(tmp_path, "http://127.0.0.1:9")
    taken = port if setting == "listen" else operations_port
    with socket.create_server(("127.0.0.1", taken)):
        ended = run_to_its_end(path)
    assert ended.returncode == 1
    assert f"gateway.{setting} = '127.0.0.1:{taken}'" in ended.stderr
    assert ended.stderr.count("\n") == 1
    assert not (tmp_path / "exchanges").exists()


def test_wrong_configuration(tmp_path: Path) -> None:
    """A configuration that cannot be used: what is wrong, and exit status 2."""
    path, _, _ = write_configuration(tmp_path, "no url")
    ended = run_to_its_end(path)
    assert ended.returncode == 2
    assert "task[0].teacher.url" in ended.stderr


def test_second_gateway_of_the_same_name(teacher_url: str, tmp_path: Path) -> None:
    """Two gateways never write one exchange file: the second says so and exits with status 1."""
    with gateway(tmp_path, teacher_url) as process:
        path, _, _ = write_configuration(tmp_path, teacher_url)
        ended = run_to_its_end(path)
        assert ended.returncode == 1
        assert "another gateway of this name" in ended.stderr
        assert process.predict("x").status == 200


def test_operations_port(running: Running) -> None:
    """Only /livez, /readyz and /metrics are answered there."""
    port = running.operations_port
    targets = ["/livez", "/readyz", "/metrics", "/predict"]
    assert [call(port, "GET", target).status for target in targets] == [200, 200, 200, 404]
    assert call(port, "POST", "/metrics", b"").status == 405
    assert running.metrics()['stillgate_degraded{part="control"}'] == 1


def test_metrics_of_a_request(running: Running) -> None:
    """One request is one in the counts of who served, how it ended and how long it took."""
    before = running.metrics()
    running.predict("hello")
    running.settled()
    after = running.metrics()
    for name in (
        'stillgate_served_total{served_by="teacher",task="desk"}',
        'stillgate_outcomes_total{outcome="complete"}',
        "stillgate_request_duration_seconds_count",
        "stillgate_requests_total",
        "stillgate_exchanges_recorded_total",
    ):
        assert after[name] - before[name] == 1, name
    assert after["stillgate_inflight_requests"] == 0
