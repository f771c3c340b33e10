"""A real gateway process, its callers, and what it left behind."""

import http.client
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ledger.exchange import Answer, Exchange
from ledger.exchange_file import answers_of, exchange_path, reading
from tests.gateway.teachers import CLASSES
from tests.ports import free_port

PATIENCE_SECONDS = 20.0

CONFIGURATION = """
[deployment]
name = "test"
data_directory = "{directory}"

[gateway]
listen = "127.0.0.1:{port}"
operations_listen = "127.0.0.1:{operations_port}"
{gateway}

[monitor]
stale_seconds = {stale_seconds}

[student]
inline_deadline_seconds = {inline_seconds}
{student_settings}

[[task]]
name = "desk"
classes = {classes}
dialect = "huggingface"
paths = ["/predict"]
[task.teacher]
url = "{teacher}"
version = "1"
version_header = "x-model-version"
connect_seconds = 1
first_byte_seconds = {first_byte_seconds}
idle_seconds = {first_byte_seconds}
{teacher_settings}
[task.capture]
inputs = "{capture}"
[task.fallback]
audit_share = {audit_share}
{remote_student}
[task.shadow]
share = {shadow_share}
[[task.slice]]
name = "area"
header = "x-area"
[task.governance]
owner = "o"
sponsor = "s"
driver = "d"
validator = "v"
operator = "p"

[[task]]
name = "wire"
classes = {classes}
dialect = "open-inference"
paths = ["/v2/models/desk/infer"]
[task.teacher]
url = "{teacher}"
version = "1"
[task.capture]
inputs = "nothing"
[task.governance]
owner = "o"
sponsor = "s"
driver = "d"
validator = "v"
operator = "p"
"""


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        return next((value for field, value in self.headers if field.lower() == name), None)


@dataclass(frozen=True, slots=True)
class Running:
    """One gateway process."""

    process: subprocess.Popen[bytes]
    directory: Path
    port: int
    operations_port: int
    log: Path

    def ask(self, method: str, target: str, body: bytes | None = None, **headers: str) -> Reply:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return call(self.port, method, target, body, named)

    def predict(self, text: str, **headers: str) -> Reply:
        return self.ask("POST", "/predict", b'{"inputs":"%s"}' % text.encode(), **headers)

    def metrics(self) -> dict[str, float]:
        lines = call(self.operations_port, "GET", "/metrics").body.decode().splitlines()
        return {
            name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if line[0] != "#")
        }

    def accounts(self) -> dict[str, float]:
        """The sides of the identity; `dropped` by reason where it is not zero."""
        metrics = self.metrics()
        dropped = {
            found[1]: value
            for name, value in metrics.items()
            if value and (found := re.match(r'stillgate_exchanges_dropped_total\{reason="(\w+)"\}', name))
        }
        return {
            "requests": metrics["stillgate_requests_total"],
            "recorded": metrics["stillgate_exchanges_recorded_total"],
            "pending": metrics["stillgate_exchanges_pending"],
            **dropped,
        }

    def settled(self) -> dict[str, float]:
        """The accounts once nothing is pending; the identity must hold all the way there."""
        accounts = self.accounts()

        def nothing_pending() -> bool:
            nonlocal accounts
            accounts = self.accounts()
            assert_identity(accounts)
            return accounts["pending"] == 0

        wait_until(nothing_pending)
        return accounts

    def exchanges(self) -> list[Exchange]:
        return read_exchanges(self.directory)

    def answers(self, sequence: int) -> list[Answer]:
        with reading(exchange_path(self.directory, "g0")) as connection:
            return answers_of(connection, sequence)

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(PATIENCE_SECONDS)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(PATIENCE_SECONDS)


def assert_identity(accounts: Mapping[str, float]) -> None:
    parts = sum(value for name, value in accounts.items() if name != "requests")
    assert accounts["requests"] == parts, accounts


def read_exchanges(directory: Path) -> list[Exchange]:
    with reading(exchange_path(directory, "g0")) as connection:
        from ledger.exchange_file import EXCHANGE_COLUMNS, read_exchange

        rows = connection.execute(f"SELECT {EXCHANGE_COLUMNS} FROM exchange e ORDER BY e.sequence")
        return [read_exchange(row) for row in rows]


def call(
    port: int, method: str, target: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
) -> Reply:
    """One request on a connection of its own; the body as it came over the wire."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)
    try:
        return call_on(connection, method, target, body, headers or {})
    finally:
        connection.close()


def call_on(
    connection: http.client.HTTPConnection,
    method: str,
    target: str,
    body: bytes | None,
    headers: Mapping[str, str],
) -> Reply:
    connection.request(method, target, body, dict(headers))
    response = connection.getresponse()
    content = response.read()
    return Reply(response.status, response.getheaders(), content)


def send_raw(port: int, content: bytes, seconds: float = 5.0) -> bytes:
    """Write these bytes and read until the gateway closes the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as connection:
        connection.sendall(content)
        received = b""
        while chunk := connection.recv(65536):
            received += chunk
        return received


def wait_until(condition: Callable[[], bool], seconds: float = PATIENCE_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.02)


def write_configuration(directory: Path, teacher: str, **changes: Any) -> tuple[Path, int, int]:
    """A configuration file in the directory, with the ports that it names."""
    settings: dict[str, Any] = {
        "directory": directory,
        "port": free_port(),
        "operations_port": free_port(),
        "gateway": "",
        "stale_seconds": 60,
        "inline_seconds": 5,
        "first_byte_seconds": 10,
        "audit_share": 0.5,
        "shadow_share": 1.0,
        "remote_student": "",
        "student_settings": "",
        "capture": "text",
        "classes": list(CLASSES),
        "teacher": teacher,
        "teacher_settings": "",
        **changes,
    }
    path = directory / "stillgate.toml"
    path.write_text(CONFIGURATION.format(**settings))
    return path, settings["port"], settings["operations_port"]


def start_gateway(
    directory: Path, teacher: str, environment: Mapping[str, str] | None = None, **changes: Any
) -> Running:
    """Start a process, with these variables besides our own, and wait until it is ready."""
    return start_gateway_on(directory, *write_configuration(directory, teacher, **changes), environment)


def start_gateway_on(
    directory: Path,
    path: Path,
    port: int,
    operations_port: int,
    environment: Mapping[str, str] | None = None,
) -> Running:
    """The same with a configuration that is there already."""
    log = directory / "gateway.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "gateway", "--config", str(path)],
            stderr=output,
            stdout=output,
            env={**os.environ, **(environment or {})},
        )
    running = Running(process, directory, port, operations_port, log)

    def ready() -> bool:
        assert process.poll() is None, log.read_text()
        try:
            return call(operations_port, "GET", "/readyz").status == 200
        except OSError:
            return False

    wait_until(ready)
    return running


@contextmanager
def gateway(directory: Path, teacher: str, **changes: Any) -> Iterator[Running]:
    with ended(start_gateway(directory, teacher, **changes)) as running:
        yield running


@contextmanager
def ended(running: Running) -> Iterator[Running]:
    """Leave no process behind."""
    try:
        yield running
    finally:
        if running.process.poll() is None:
            running.kill()
