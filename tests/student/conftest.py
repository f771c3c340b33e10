"""A data directory with a stillgate.toml, and real student processes on it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from ledger.control_file import open_control_file, transaction
from ledger.tables import HeartbeatRow
from student.wire import socket_path

DEADLINE_SECONDS = 30.0

CONFIGURATION = """
[deployment]
name = "test"
data_directory = "state"

[student]
{student}

[[task]]
name = "topics"
classes = ["cats", "dogs", "birds"]
dialect = "huggingface"
paths = ["/topics"]
teacher = {{ url = "http://127.0.0.1:9", version = "1" }}
capture = {{ inputs = "text" }}
governance = {{ owner = "a", sponsor = "b", driver = "c", validator = "d", operator = "e" }}
"""


class Processes:
    """Student processes on one data directory; the fixture ends them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data_directory = folder / "state"
        self.socket = socket_path(self.data_directory)
        self.started: list[subprocess.Popen[str]] = []

    def configure(self, **settings: Any) -> Path:
        """Write stillgate.toml with these settings of its section [student]."""
        path = self.folder / "stillgate.toml"
        lines = "\n".join(f"{name} = {value!r}" for name, value in settings.items())
        path.write_text(CONFIGURATION.format(student=lines))
        return path

    def start(self, **settings: Any) -> subprocess.Popen[str]:
        """A process that listens already."""
        process = self.spawn(**settings)
        wait_for(lambda: "action=listening" in self.log(process), lambda: self.log(process))
        return process

    def spawn(self, **settings: Any) -> subprocess.Popen[str]:
        log = (self.folder / f"student{len(self.started)}.log").open("w")
        process = subprocess.Popen(
            [sys.executable, "-m", "student", "--config", str(self.configure(**settings))],
            stderr=log,
            stdout=log,
            text=True,
        )
        log.close()
        self.started.append(process)
        return process

    def log(self, process: subprocess.Popen[str]) -> str:
        return (self.folder / f"student{self.started.index(process)}.log").read_text()

    def end(self) -> None:
        for process in self.started:
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGCONT)
            process.kill()
            process.wait()


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    started = Processes(tmp_path)
    yield started
    started.end()


@pytest.fixture
def control(processes: Processes) -> Iterator[Engine]:
    """The control file of the data directory."""
    opened = open_control_file(processes.data_directory)
    yield opened
    opened.dispose()


def wait_for(condition: Callable[[], bool], explain: Callable[[], str] = str) -> None:
    """Until the condition holds; fails with what `explain` says after the deadline."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"it did not happen within {DEADLINE_SECONDS} s: {explain()}")
        time.sleep(0.02)


def student_report(control: Engine) -> dict[str, Any]:
    """What the student process last said of itself."""
    with transaction(control) as session:
        row = session.get(HeartbeatRow, "student")
        return row.report if row else {"loaded": [], "problems": {}}
