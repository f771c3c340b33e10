"""`stillgate up` with the real processes of a deployment."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from ledger.configuration import Configuration
from ledger.control_file import open_control_file
from stillgate.checks import is_up
from stillgate.supervisor import accepts
from stillgate.up import prepare_control_file
from tests.gateway.control.desk import load_from, wait_until
from tests.stillgate.command import run

NAMES = ("gateway", "student", "control", "monitor", "distill")
START_SECONDS = 90.0  # five interpreters on two busy cores


@contextmanager
def _up(path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Standard output and error go to files beside the configuration."""
    with (path.parent / "out").open("wb") as out, (path.parent / "err").open("wb") as err:
        command = [sys.executable, "-m", "stillgate", "up", "--config", str(path)]
        process = subprocess.Popen(command, stdout=out, stderr=err)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def _pids(configuration: Configuration) -> dict[str, int]:
    """The supervisor removes the file of a process that died, maybe between our listing and our reading."""
    pids = {}
    for path in (configuration.deployment.data_directory / "run").glob("*.pid"):
        with suppress(FileNotFoundError):
            pids[path.stem] = int(path.read_text() or 0)
    return pids


def _gone(pids: dict[str, int]) -> bool:
    return not any(Path(f"/proc/{pid}").exists() for pid in pids.values())


@pytest.mark.slow
def test_up_runs_everything_restarts_what_is_killed_and_stops_cleanly(tmp_path: Path) -> None:
    """One key, shown once; a changed file is taken over; every process comes back after SIGKILL; SIGTERM ends with
    0 and leaves nobody."""
    path, configuration = load_from(tmp_path)
    with _up(path) as process:
        wait_until(lambda: b"metrics" in (tmp_path / "out").read_bytes(), START_SECONDS)
        out = (tmp_path / "out").read_text()
        key = out.split()[2]
        assert (key.startswith("stg_admin_"), "no student yet: it records" in out) == (True, True)
        assert run("status", "--config", str(path), key=key).exit_code == 0
        assert "nothing has changed" in run("reload", "--config", str(path)).stdout
        good = path.read_text()
        path.write_text(good.replace("[gateway]", "[gateway]\nmax_in_flight = 17"))
        assert "control, gateway" in run("reload", "--config", str(path)).stdout
        path.write_text(good.replace("[deployment]", '[deployment]\nlog_format = "json"'))
        refused = run("reload", "--config", str(path))
        assert (refused.exit_code, "deployment.log_format" in refused.stderr) == (4, True)
        path.write_text(good)
        wait_until(lambda: set(_pids(configuration)) == set(NAMES), START_SECONDS)
        second = run("up", "--config", str(path))
        assert (second.exit_code, f"process {process.pid}" in second.stderr) == (1, True)
        before = _pids(configuration)
        assert set(before) == set(NAMES)
        for pid in before.values():
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: set(_pids(configuration)) == set(NAMES), START_SECONDS)
        wait_until(lambda: not set(_pids(configuration).values()) & set(before.values()), START_SECONDS)
        wait_until(lambda: accepts(configuration.gateway.listen), START_SECONDS)
        wait_until(lambda: run("status", "--config", str(path), key=key).exit_code == 0, START_SECONDS)
        after = _pids(configuration)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    assert _gone(after)
    assert key not in (tmp_path / "err").read_text()
    assert not is_up(configuration.deployment.data_directory)


def test_a_taken_port_refuses_the_start_and_starts_nothing(tmp_path: Path) -> None:
    """Exit 1 with the address."""
    path, configuration = load_from(tmp_path)
    host, _, port = configuration.monitor.listen.rpartition(":")
    with socket.create_server((host, int(port))):
        refused = run("up", "--config", str(path))
    assert (refused.exit_code, configuration.monitor.listen in refused.stderr) == (1, True)
    assert _pids(configuration) == {}


def test_a_wrong_configuration_refuses_the_start(tmp_path: Path) -> None:
    """Exit 2, before a directory is made."""
    path, configuration = load_from(tmp_path)
    path.write_text(path.read_text().replace("huggingface", "telegram"))
    assert run("up", "--config", str(path)).exit_code == 2
    assert not configuration.deployment.data_directory.exists()


def test_a_control_file_of_a_later_release_refuses_the_start(tmp_path: Path) -> None:
    """Exit 1, and which release to run."""
    path, configuration = load_from(tmp_path)
    engine = open_control_file(configuration.deployment.data_directory)
    with engine.begin() as connection:
        connection.exec_driver_sql("PRAGMA user_version = 99")
    engine.dispose()
    refused = run("up", "--config", str(path))
    assert (refused.exit_code, "newer release" in refused.stderr) == (1, True)


def test_the_first_key_is_made_and_shown_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A later start has none to show."""
    prepare_control_file(tmp_path)
    assert "admin key  stg_admin_" in capsys.readouterr().out
    prepare_control_file(tmp_path)
    assert capsys.readouterr().out == ""
