"""Callers that are slow on purpose, and bodies made to hurt a parser."""

import random
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from tests.gateway.running import gateway, wait_until
from tests.reliability.callers import closed_load, percentile
from tests.reliability.promises import promises
from tests.reliability.rows import Row
from tests.reliability.scale import sized
from tests.reliability.teachers import nginx_teacher

HEAD = b"POST /predict HTTP/1.1\r\nHost: gateway\r\nX-Request: -\r\n"


def slow_head(connection: socket.socket) -> None:
    """A field now and then, and never the empty line."""
    connection.sendall(b"X-Slow: 1\r\n")


def slow_body(connection: socket.socket) -> None:
    """A byte now and then of a body that was announced."""
    connection.sendall(b"x")


def slow_read(connection: socket.socket) -> None:
    """A few bytes now and then of the answer."""
    connection.setblocking(False)
    connection.recv(16)


MODES: dict[str, tuple[bytes, Callable[[socket.socket], None]]] = {
    "slow head": (HEAD, slow_head),
    "slow body": (HEAD + b"Content-Length: 100000\r\n\r\n", slow_body),
    "slow read": (HEAD.replace(b"/predict", b"/big").replace(b"POST", b"GET") + b"\r\n", slow_read),
}


@pytest.mark.row("B3")
@pytest.mark.parametrize("mode", MODES)
def test_slow_callers(row: Row, tmp_path: Path, mode: str) -> None:
    """Many callers that take for ever, beside honest ones: the honest ones are all answered."""
    slow, seconds = sized(60, 400, 500), sized(3, 20, 60)
    row.size = f"{slow} slow connections, {seconds} s"
    start, go_on = MODES[mode]
    with (
        nginx_teacher(tmp_path / "teacher", big_bytes=2**20) as teacher,
        gateway(tmp_path, teacher.url, gateway="max_in_flight = 1000") as running,
        promises(row, running, teacher) as ledger,
        ExitStack() as stack,
    ):
        connections = []
        for _ in range(slow):
            connection = stack.enter_context(small_window(running.port))
            connection.sendall(start)
            connections.append(connection)
        with closed_load(running.port, 4, pause_seconds=0.05) as load:
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                for connection in connections:
                    with suppress(OSError):
                        go_on(connection)
                time.sleep(0.5)
        stack.close()
        assert all(seen.complete and seen.status == 200 for seen in load.seen)
        ledger.seen = load.seen
    row.note(honest_p99_ms=percentile([seen.seconds for seen in load.seen], 0.99))


@contextmanager
def small_window(port: int) -> Iterator[socket.socket]:
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(5)
        connection.connect(("127.0.0.1", port))
        yield connection


def bombs(rng: random.Random) -> dict[str, bytes]:
    """Bodies that are cheap to send and dear to parse, or mean different things to different parsers."""
    return {
        "deep lists": b'{"inputs":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        "deep objects": b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
        "open brackets": b"[" * 500_000,
        "many keys": b'{"inputs":"x",' + b",".join(b'"k%d":1' % n for n in range(60_000)) + b"}",
        "many texts": b'{"inputs":[' + b",".join([b'"x"'] * 100_000) + b"]}",
        "same key again": b'{"inputs":"first","inputs":"second"}',
        "not a number": b'{"inputs":"x","a":NaN}',
        "infinity": b'{"inputs":"x","a":1e999999}',
        "long number": b'{"inputs":"x","a":' + b"9" * 400_000 + b"}",
        "beyond 64 bits": b'{"inputs":"x","a":9223372036854775808}',
        "lone surrogate": b'{"inputs":"\\ud800"}',
        "swapped surrogates": b'{"inputs":"\\udc00\\ud800"}',
        "byte order mark": b'\xef\xbb\xbf{"inputs":"x"}',
        "not utf-8": b'{"inputs":"\xff\xfe\x80"}',
        "overlong utf-8": b'{"inputs":"\xc0\xaf"}',
        "utf-16": '{"inputs":"x"}'.encode("utf-16"),
        "nul in a text": b'{"inputs":"a\\u0000b"}',
        "long text": b'{"inputs":"' + b"word " * 150_000 + b'"}',
        "escapes": b'{"inputs":"' + b"\\u0041" * 100_000 + b'"}',
        "random bytes": rng.randbytes(10_000),
        "nothing": b"",
        "null": b"null",
    }


@pytest.mark.row("B4")
def test_hostile_json(row: Row, tmp_path: Path) -> None:
    """The teacher gets the bytes and its answer goes back, whatever our parsers make of them; each is recorded."""
    rounds = sized(2, 50, 300)
    with (
        nginx_teacher(tmp_path / "teacher") as teacher,
        gateway(tmp_path, teacher.url) as running,
        promises(row, running) as ledger,
    ):
        before = running.settled()["recorded"]
        for _ in range(rounds):
            cases = bombs(row.rng)
            for name, body in cases.items():
                reply = running.ask("POST", "/predict", body)
                assert (reply.status, reply.header("x-stillgate-served-by")) == (200, "teacher"), name
            running.settled()  # a stream of them fills the recorder's queue, and drops are counted
        row.size = f"{len(cases)} cases, {rounds} times each"
        ledger.hidden = rounds * len(cases)
        with closed_load(running.port, 2) as load:
            wait_until(lambda: len(load.seen) >= 50)
        ledger.seen = load.seen
        assert running.settled()["recorded"] == before + ledger.hidden + len(load.seen)
    assert all(seen.complete and seen.status == 200 for seen in load.seen)
