"""A whole deployment under `stillgate up`, its teacher, and eyes to look at both."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from ledger.exchange_file import exchange_path, reading
from tests.ports import free_ports

WAIT_SECONDS = 60.0
TASK = "topics"
ADMIN_KEY = re.compile(r"stg_admin_[0-9A-Za-z]+")

CONFIGURATION = """
[deployment]
name = "topics"
data_directory = "data"

[gateway]
listen = "127.0.0.1:{gateway}"
operations_listen = "127.0.0.1:{operations}"

[control]
listen = "127.0.0.1:{control}"

[monitor]
listen = "127.0.0.1:{monitor}"
tick_seconds = 0.3
window_seconds = 1

[[task]]
name = "topics"
classes = ["alpha", "beta"]
dialect = "huggingface"
paths = ["/predict"]
teacher = {{ url = "http://127.0.0.1:{teacher}", version = "1" }}
capture = {{ inputs = "text" }}
governance = {{ owner = "o", sponsor = "s", driver = "d", validator = "v", operator = "p" }}
fairness = {{ none_because = "no people", declared_by = "o", declared_on = 2026-01-02 }}
licence = {{ distillation_allowed = true, decided_by = "o", decided_on = "2026-01-02", terms = "ours" }}
gate = {{ bar = 0.8, rows = 60, slice_rows = 30, train_rows = 100, collect_seconds = 0 }}
trigger = {{ launch = {launch}, tolerance = 0.05, reference_pairs = 50 }}

[[task.slice]]
name = "area"
header = "x-area"
critical = true
bar = 0.8
"""


@dataclass
class Running:
    """The processes, and where they listen."""

    folder: Path
    ports: dict[str, int]
    teacher: "subprocess.Popen[bytes]"
    up: "subprocess.Popen[bytes]"
    keys: dict[str, str] = field(default_factory=dict)

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.ports[name]}"

    def ask(self, text: str, area: str = "home", client: httpx.Client | None = None) -> httpx.Response:
        post = client.post if client else httpx.post
        return post(
            self.url("gateway") + "/predict", json={"inputs": text}, headers={"x-area": area}, timeout=20
        )

    def api(self, method: str, path: str, role: str = "admin", **options: Any) -> httpx.Response:
        headers = {"authorization": f"Bearer {self.keys[role]}"}
        return httpx.request(
            method, self.url("control") + "/api/v1" + path, headers=headers, timeout=20, **options
        )

    def task(self) -> dict[str, Any]:
        """The task's part of the status document."""
        response = self.api("GET", "/status")
        response.raise_for_status()
        return dict(next(task for task in response.json()["tasks"] if task["task"] == TASK))

    def make_keys(self) -> None:
        """An operator and a validator, two people."""
        for person, role in (("olga", "operator"), ("vera", "validator")):
            response = self.api("POST", "/keys", json={"person": person, "role": role})
            response.raise_for_status()
            self.keys[role] = response.json()["key"]

    def accounts(self) -> dict[str, float]:
        """The gateway's own figures: requests, recorded, dropped (all reasons), pending."""
        text = httpx.get(self.url("operations") + "/metrics", timeout=20).text
        return {
            "requests": metric(text, "stillgate_requests_total"),
            "recorded": metric(text, "stillgate_exchanges_recorded_total"),
            "dropped": metric(text, "stillgate_exchanges_dropped_total"),
            "crash": metric(text, "stillgate_exchanges_dropped_total", 'reason="crash"'),
            "pending": metric(text, "stillgate_exchanges_pending"),
        }

    def log(self) -> str:
        """What every process said."""
        return (self.folder / "up.log").read_text(errors="replace")

    def answers_of(self, responder: str) -> int:
        with reading(exchange_path(self.data, "g0")) as connection:
            query = "SELECT count(*) FROM answer WHERE responder = ?"
            return int(connection.execute(query, (responder,)).fetchone()[0])

    def pid_of(self, process: str) -> int | None:
        try:
            pid = int((self.data / "run" / f"{process}.pid").read_text())
            os.kill(pid, 0)
        except (FileNotFoundError, ValueError, ProcessLookupError):
            return None
        return pid

    def kill(self, process: str) -> None:
        """SIGKILL one process and wait until the supervisor has another in its place."""
        before = wait_for(lambda: self.pid_of(process), f"{process} runs")
        os.kill(before, signal.SIGKILL)
        wait_for(lambda: (self.pid_of(process) or before) != before, f"{process} comes back")

    def answers(self, name: str, path: str) -> bool:
        try:
            return httpx.get(self.url(name) + path, timeout=2).status_code == 200
        except httpx.HTTPError:
            return False


def wait_for(
    holds: Callable[[], Any], what: str, seconds: float = WAIT_SECONDS, explain: Callable[[], str] = str
) -> Any:
    """The first true value of `holds`; an error that says what was waited for, and what `explain` says of it."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = holds()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds:.0f} s: {what}\n{explain()}")


def metric(text: str, name: str, labels: str = "") -> float:
    """The sum of a metric's series that carry the labels."""
    lines = re.findall(rf"^{name}(\{{[^}}]*\}})? (\S+)$", text, re.MULTILINE)
    return sum(float(value) for series, value in lines if labels in series)


@contextmanager
def deployment(folder: Path, launch: bool = False, settings: str = "") -> Iterator[Running]:
    """Start everything, hand it over, and stop it; the supervisor has to end with code 0.

    `settings` are further lines of the task's configuration, or sections after it.
    """
    ports = named_ports("gateway", "operations", "control", "monitor", "teacher")
    config = folder / "stillgate.toml"
    config.write_text(CONFIGURATION.format(**ports, launch=str(launch).lower()) + settings)
    teacher = subprocess.Popen(
        [sys.executable, "-m", "tests.end_to_end.keyword_teacher", str(ports["teacher"])]
    )
    running = Running(folder, ports, teacher, start_up(folder))
    try:
        wait_for(lambda: running.answers("teacher", "/"), "the teacher listens")
        wait_until_up(running)
        yield running
        running.up.terminate()
        assert running.up.wait(WAIT_SECONDS) == 0
    finally:
        for process in (running.up, teacher):
            process.kill()
            process.wait()


def start_up(folder: Path) -> "subprocess.Popen[bytes]":
    """`stillgate up`, its words in up.log."""
    with (folder / "up.log").open("ab") as log:
        command = [sys.executable, "-m", "stillgate", "up", "--config", str(folder / "stillgate.toml")]
        return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)


def wait_until_up(running: Running) -> None:
    log = running.folder / "up.log"

    def is_up() -> bool:
        assert running.up.poll() is None, log.read_text()
        return all(
            running.answers(name, path)
            for name, path in (("operations", "/readyz"), ("control", "/livez"), ("monitor", "/livez"))
        )

    wait_for(is_up, "every process answers")
    found = wait_for(lambda: ADMIN_KEY.search(log.read_text()), "the first key is printed")
    running.keys.setdefault("admin", found.group())


def named_ports(*names: str) -> dict[str, int]:
    return dict(zip(names, free_ports(len(names)), strict=True))


class Traffic:
    """Requests one after another in a thread of their own until told to stop; remembers what went wrong."""

    def __init__(self, running: Running) -> None:
        self._running = running
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._send)
        self.sent = 0
        self.failed: list[str] = []

    def __enter__(self) -> "Traffic":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _send(self) -> None:
        with httpx.Client() as client:
            while not self._stop.wait(0.005):
                text = f"number {self.sent} {'alpha' if self.sent % 2 else 'beta'}"
                expected = text.split()[-1]
                self.sent += 1
                try:
                    response = self._running.ask(text, client=client)
                    if response.status_code != 200 or response.json()[0]["label"] != expected:
                        self.failed.append(f"{response.status_code} {response.text[:200]}")
                except httpx.HTTPError as error:
                    self.failed.append(repr(error))
