"""Our side of a run: every process of a deployment that shadows a student which costs next to nothing."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine

from benchmarks.ports import free_ports, wait_until_listening
from ledger.control_file import open_control_file, transaction
from ledger.cursors import cursor
from ledger.exchange_file import Accounts, ExchangeFile, exchange_path, reading
from ledger.tables import HeartbeatRow
from tests.artifacts import register, tiny_artifact

CLASSES = ("cats", "dogs", "birds")
PATH = "/topics"
GATEWAY = "g0"
SETTLE_SECONDS = 60.0

_CONFIGURATION = """
[deployment]
name = "benchmark"
data_directory = "state"

[gateway]
name = "{gateway}"
listen = "127.0.0.1:{ports[0]}"
operations_listen = "127.0.0.1:{ports[1]}"

[control]
listen = "127.0.0.1:{ports[2]}"

[monitor]
listen = "127.0.0.1:{ports[3]}"

[[task]]
name = "topics"
classes = ["cats", "dogs", "birds"]
dialect = "huggingface"
paths = ["{path}"]
teacher = {{ url = "http://127.0.0.1:{teacher}", version = "1" }}
capture = {{ inputs = "text" }}
trigger = {{ launch = false }}
governance = {{ owner = "a", sponsor = "b", driver = "c", validator = "d", operator = "e" }}
slice = [{{ name = "words", words = [5, 20] }}, {{ name = "answer", teacher_class = true }}]
"""


@dataclass(frozen=True, slots=True)
class Deployment:
    """What the benchmark asks of it while it runs."""

    port: int
    pids: Mapping[str, int]
    data_directory: Path
    control: Engine

    def counts(self) -> tuple[int, int]:
        """Recorded exchanges and shadow answers so far."""
        with reading(exchange_path(self.data_directory, GATEWAY)) as connection:
            (exchanges,) = connection.execute("SELECT count(*) FROM exchange").fetchone()
            (answers,) = connection.execute("SELECT count(*) FROM answer").fetchone()
        return exchanges, answers

    def monitor_is_behind(self) -> bool:
        """Whether answers wait for the monitor."""
        with reading(exchange_path(self.data_directory, GATEWAY)) as connection:
            (last,) = connection.execute("SELECT coalesce(max(number), 0) FROM answer").fetchone()
        with transaction(self.control) as session:
            return cursor(session, "monitor", f"answers:{GATEWAY}") < int(last)


@contextmanager
def running_deployment(folder: Path, teacher: int) -> Iterator[Deployment]:
    """Gateway, student, monitor and control in processes of their own, the student loaded."""
    ports = free_ports(4)
    configuration = folder / "stillgate.toml"
    configuration.write_text(_CONFIGURATION.format(gateway=GATEWAY, ports=ports, path=PATH, teacher=teacher))
    data_directory = folder / "state"
    control = open_control_file(data_directory)
    register(control, tiny_artifact(data_directory, CLASSES))
    listens = {"gateway": ports[0], "student": None, "monitor": ports[3], "gateway.control": ports[2]}
    with ExitStack() as stack:
        pids = {
            module: stack.enter_context(_running(folder, configuration, module, port))
            for module, port in listens.items()
        }
        wait_for(lambda: _student_has_loaded(control), "the student has not loaded its artifact")
        yield Deployment(ports[0], pids, data_directory, control)
    control.dispose()


def closing_accounts(data_directory: Path) -> Accounts:
    """Both sides of the identity, once the gateway has stopped."""
    file = ExchangeFile(exchange_path(data_directory, GATEWAY))
    try:
        return file.accounts()
    finally:
        file.close()


def wait_for(condition: Callable[[], bool], otherwise: str) -> None:
    """Raises RuntimeError with the sentence after SETTLE_SECONDS."""
    give_up_at = time.monotonic() + SETTLE_SECONDS
    while not condition():
        if time.monotonic() > give_up_at:
            raise RuntimeError(f"{otherwise} after {SETTLE_SECONDS} s")
        time.sleep(0.1)


@contextmanager
def _running(folder: Path, configuration: Path, module: str, port: int | None) -> Iterator[int]:
    with (folder / f"{module}.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", module, "--config", str(configuration)], stdout=log, stderr=log
        )
    try:
        if port is not None:
            wait_until_listening(process, port)
        yield process.pid
    finally:
        process.terminate()
        process.wait(60)


def _student_has_loaded(control: Engine) -> bool:
    with transaction(control) as session:
        row = session.get(HeartbeatRow, "student")
        return row is not None and bool(row.report["loaded"])
