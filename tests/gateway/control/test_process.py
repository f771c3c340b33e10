"""The control process as it runs: its ticks, its sign of life, its end, and what it says when it cannot start."""

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gateway.control.__main__ import listen
from ledger.control_file import transaction
from ledger.stages import task_stages
from ledger.tables import HeartbeatRow
from stillgate.supervisor import accepts
from tests.gateway.control.desk import TASK, Desk, add_student, wait_until


@contextmanager
def _control(path: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "gateway.control", "--config", str(path)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_it_ticks_beats_and_stops_cleanly(desk: Desk) -> None:
    """A registered student enters shadow by itself; SIGTERM ends with status 0."""
    artifact = add_student(desk.engine, desk.data_directory, stage=None)

    def both() -> bool:
        with transaction(desk.engine) as session:
            beaten = session.get(HeartbeatRow, "control") is not None
            return beaten and task_stages(session, TASK).answering == (artifact,)

    with _control(desk.path) as process:
        wait_until(lambda: accepts(desk.configuration.control.listen), 30)
        wait_until(both)
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=20)
        assert (process.returncode, "action=stopped" in said) == (0, True)


def test_a_taken_port_is_named(desk: Desk) -> None:
    """One line with the address, and status 1."""
    taken = listen(desk.configuration.control.listen)
    with _control(desk.path) as process:
        _, said = process.communicate(timeout=30)
        assert process.returncode == 1
        assert desk.configuration.control.listen in said
        assert "Traceback" not in said
    taken.close()


def test_a_wrong_configuration_is_status_2(tmp_path: Path) -> None:
    """With what is wrong about it."""
    with _control(tmp_path / "nothing.toml") as process:
        _, said = process.communicate(timeout=30)
        assert (process.returncode, "stillgate init" in said) == (2, True)


def test_a_control_file_that_cannot_be_used_is_said_in_one_line(desk: Desk) -> None:
    """Status 1, no traceback."""
    (desk.data_directory / "control.sqlite").write_bytes(b"no database at all, only text" * 50)
    with _control(desk.path) as process:
        _, said = process.communicate(timeout=30)
        assert process.returncode == 1
        assert "Traceback" not in said


@pytest.mark.parametrize("address", ["127.0.0.1:0", "[::1]:0"])
def test_both_families_of_addresses_work(address: str) -> None:
    """An IPv6 address stands in brackets."""
    if address.startswith("[") and not socket.has_ipv6:
        return
    listener = listen(address)
    port = listener.getsockname()[1]
    listener.close()

    assert port > 0
