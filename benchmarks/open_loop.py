"""An open-loop load: requests start when they are due, however slow the answers are, and a latency runs from
the moment when its request was due. `python -m benchmarks.open_loop PORT KIND RATE SECONDS` prints one line of JSON.

One thread around select(2), whose timeout counts microseconds; epoll and libuv wait whole milliseconds.
"""

import gc
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import orjson

from benchmarks.processes import run_first
from benchmarks.quantiles import Floats, percentile
from benchmarks.traffic import TRAFFIC, Traffic

CONNECTIONS = 32  # opened at first; used in turns, so that none is idle for long
MOST_CONNECTIONS = 512
GRACE_SECONDS = 30.0  # for answers after the last request
START_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Offered:
    """What the callers of one leg saw."""

    latencies_us: Floats  # of right answers, in the order of arrival
    due_at: Floats  # when each of their requests was due, time.perf_counter
    errors: Mapping[str, int]  # by kind
    late_p99_us: float  # how late requests were sent: the generator's own delay

    @property
    def error_count(self) -> int:
        return sum(self.errors.values())


@dataclass(slots=True)
class Call:
    """A request that was sent and not yet answered."""

    due_at: float
    received: bytes = b""


@dataclass(slots=True)
class Loop:
    """The state of one leg."""

    port: int
    traffic: Traffic
    idle: deque[socket.socket] = field(default_factory=deque)
    calls: dict[socket.socket, Call] = field(default_factory=dict)
    due: deque[float] = field(default_factory=deque)
    latencies_us: list[float] = field(default_factory=list)
    due_at: list[float] = field(default_factory=list)
    late_us: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)
    stopped: bool = False

    def run(self, rate: float, seconds: float) -> None:
        request = self.traffic.request(self.port)
        self.idle.extend(self._connected() for _ in range(CONNECTIONS))
        started = time.perf_counter() + START_SECONDS
        number, total = 0, round(rate * seconds)
        ends_at = started + seconds
        while number < total or self.due or self.calls:
            now = time.perf_counter()
            if self.stopped:
                total, ends_at = number, min(ends_at, now)
            while number < total and started + number / rate <= now:
                self.due.append(started + number / rate)
                number += 1
            self._send(request)
            if now > ends_at + GRACE_SECONDS:
                self.errors["unanswered"] += len(self.calls) + len(self.due)
                break
            next_at = started + number / rate if number < total else now + 0.1
            self._receive(max(0.0, next_at - time.perf_counter()))

    def stop(self, *_: object) -> None:
        """Send nothing more; what was sent is waited for."""
        self.stopped = True

    def _send(self, request: bytes) -> None:
        while self.due and (self.idle or len(self.calls) < MOST_CONNECTIONS):
            due_at = self.due.popleft()
            try:
                connection = self.idle.popleft() if self.idle else self._connected()
                connection.sendall(request)
            except OSError as error:
                self.errors[type(error).__name__] += 1
                continue
            self.late_us.append((time.perf_counter() - due_at) * 1e6)
            self.calls[connection] = Call(due_at)

    def _receive(self, seconds: float) -> None:
        for connection in select.select([*self.calls, *self.idle], [], [], seconds)[0]:
            try:
                chunk = connection.recv(65_536)
            except OSError:
                chunk = b""
            if connection not in self.calls:  # an idle connection that its server closed
                self.idle.remove(connection)
                connection.close()
            else:
                self._advance(connection, self.calls[connection], chunk)

    def _advance(self, connection: socket.socket, call: Call, chunk: bytes) -> None:
        now = time.perf_counter()
        call.received += chunk
        verdict = judged(call.received, self.traffic.reply) if chunk else "cut"
        if verdict is None:
            return
        del self.calls[connection]
        if verdict:
            self.errors[verdict] += 1
            connection.close()
        else:
            self.latencies_us.append((now - call.due_at) * 1e6)
            self.due_at.append(call.due_at)
            self.idle.append(connection)

    def _connected(self) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=5)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection


def judged(received: bytes, expected: bytes) -> str | None:
    """None while the response is not whole, "" for the expected one, else what is wrong with it."""
    head, separator, body = received.partition(b"\r\n\r\n")
    if not separator:
        return None
    lowered = head.lower()
    if b"transfer-encoding: chunked" in lowered:
        if not body.endswith(b"0\r\n\r\n"):
            return None
        body = b"".join(_chunks(body))
    elif len(body) < int(lowered.partition(b"content-length:")[2].partition(b"\r\n")[0] or b"0"):
        return None
    status = head[9:12].decode("latin-1")
    if status != "200":
        return f"status {status}"
    return "" if body == expected else "wrong body"


def _chunks(body: bytes) -> Iterator[bytes]:
    while body:
        size, _, rest = body.partition(b"\r\n")
        length = int(size.partition(b";")[0], 16)
        yield rest[:length]
        body = rest[length + 2 :]


@contextmanager
def offering(port: int, kind: str, rate: float, seconds: float) -> Iterator[subprocess.Popen[bytes]]:
    """The generator in a process of its own, which SIGTERM ends early; `finished` reads what it saw."""
    command = [sys.executable, "-m", "benchmarks.open_loop", str(port), kind, str(rate), str(seconds)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def finished(process: subprocess.Popen[bytes]) -> Offered:
    printed, _ = process.communicate()
    if process.returncode:
        raise RuntimeError(f"the load generator ended with status {process.returncode}")
    seen = orjson.loads(printed)
    latencies_us, due_at = (np.array(seen[name], dtype=np.float64) for name in ("latencies_us", "due_at"))
    return Offered(latencies_us, due_at, seen["errors"], seen["late_p99_us"])


def offer(port: int, kind: str, rate: float, seconds: float) -> Offered:
    """One leg, waited for."""
    with offering(port, kind, rate, seconds) as process:
        return finished(process)


def main() -> None:
    port, kind, rate, seconds = sys.argv[1:]
    run_first(os.getpid())
    loop = Loop(int(port), TRAFFIC[kind])
    signal.signal(signal.SIGTERM, loop.stop)
    gc.freeze()
    gc.disable()
    loop.run(float(rate), float(seconds))
    late_us = percentile(loop.late_us, 0.99) if loop.late_us else 0.0
    seen = {
        "latencies_us": loop.latencies_us,
        "due_at": loop.due_at,
        "errors": dict(loop.errors),
        "late_p99_us": late_us,
    }
    sys.stdout.buffer.write(orjson.dumps(seen))


if __name__ == "__main__":
    main()
