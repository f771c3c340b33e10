"""Callers that take for ever, on purpose or not: absolute deadlines, and honest callers who notice nothing."""

import http.client
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from ledger.exchange import Outcome
from tests.gateway.raw_cases import END, HOST, get, post
from tests.gateway.running import Running, gateway, wait_until
from tests.gateway.strict import RawCaller
from tests.gateway.teachers import TeacherApp

DEADLINES = """
first_byte_seconds = 0.5
head_seconds = 0.5
body_grace_seconds = 0.5
min_body_bytes_per_second = 1000
keep_alive_seconds = 0.5
send_seconds = 1
"""
SLOW = 40


@pytest.fixture(scope="module")
def hasty(teacher_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A gateway with deadlines of about half a second."""
    with gateway(tmp_path_factory.mktemp("hasty"), teacher_url, gateway=DEADLINES) as process:
        yield process


def drip(caller: RawCaller, content: bytes) -> None:
    """Send a byte now and then until the gateway has enough."""
    caller.socket.settimeout(0.1)
    try:
        while True:
            caller.send(content)
            try:
                if caller.socket.recv(1, socket.MSG_PEEK):
                    break
            except TimeoutError:
                continue
    except ConnectionError:
        pass
    caller.socket.settimeout(10)


def test_silent_connection_is_closed(hasty: Running) -> None:
    """Nothing at all within first_byte_seconds: the connection is closed without a word."""
    with RawCaller(hasty.port) as caller:
        assert caller.closed()


def test_idle_connection_is_closed(hasty: Running) -> None:
    """Nothing within keep_alive_seconds of the last response: the connection is closed without a word."""
    with RawCaller(hasty.port) as caller:
        caller.send(get())
        assert caller.answer().status == 200
        assert caller.closed()


@pytest.mark.parametrize(
    ("start", "more"),
    [
        (b"GET /x HTTP/1.1\r\n" + HOST, b"X: 1\r\n"),
        (b"GET /", b"x"),
        (b"\r\n", b"\r"),
        (post(b"Content-Length: 100000"), b"x"),
        (post(b"Transfer-Encoding: chunked"), b"1\r\nx\r\n"),
        (post(b"Expect: 100-continue", b"Content-Length: 9"), b""),
    ],
    ids=["fields", "line", "empty lines", "body", "chunks", "after 100"],
)
def test_slow_request_is_408(hasty: Running, start: bytes, more: bytes) -> None:
    """A head that takes longer than head_seconds, or a body below the least rate, ends with 408 and a close."""
    with RawCaller(hasty.port) as caller:
        caller.send(start)
        drip(caller, more)
        answer = caller.answer()
        assert (answer.status, answer.named(b"connection")) == (408 if start != b"\r\n" else 400, [b"close"])


def test_slow_body_is_recorded(hasty: Running) -> None:
    """Its head was whole, so that it was a request: refused, with its status."""
    with RawCaller(hasty.port) as caller:
        caller.send(post(b"Content-Length: 9"))
        assert caller.answer().status == 408
    hasty.settled()
    exchange = hasty.exchanges()[-1]
    assert (exchange.outcome, exchange.status) == (Outcome.REFUSED, 408)


def test_steady_body_is_not_slow(hasty: Running, teacher: TeacherApp) -> None:
    """A body that takes longer than the grace passes as long as it keeps up the rate."""
    with RawCaller(hasty.port) as caller:
        caller.send(post(b"Content-Length: 60000"))
        caller.socket.settimeout(0.05)
        for _ in range(30):
            with pytest.raises(TimeoutError):
                caller.socket.recv(1)
            caller.send(b"x" * 2000)
        caller.socket.settimeout(10)
        assert caller.answer().status == 200
    assert len(teacher.seen[-1][4]) == 60_000


SLOW_MODES = {
    "head": (b"GET /x HTTP/1.1\r\n", b"X: 1\r\n"),
    "body": (post(b"Content-Length: 100000"), b"x"),
    "read": (get(target=b"/x?size=3000000"), b""),
}


@pytest.mark.parametrize("mode", SLOW_MODES)
def test_honest_callers_beside_slow_ones(hasty: Running, mode: str) -> None:
    """Tens of slow callers are all cut off in the end; meanwhile every honest request is answered."""
    start, more = SLOW_MODES[mode]
    with ExitStack() as stack, ThreadPoolExecutor(SLOW) as pool:
        slow = [stack.enter_context(slow_caller(hasty.port)) for _ in range(SLOW)]
        for caller in slow:
            caller.send(start)
        dripping = [pool.submit(drip, caller, more) for caller in slow] if more else []
        statuses = [hasty.predict("billing").status for _ in range(40)]
        wait_until(lambda: open_connections(hasty) <= 1)
        for each in dripping:
            each.result()
    assert statuses == [200] * 40
    assert hasty.metrics()["stillgate_inflight_requests"] == 0


def slow_caller(port: int) -> RawCaller:
    """One whose kernel takes little on its behalf."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.settimeout(10)
    connection.connect(("127.0.0.1", port))
    return RawCaller.of(connection)


def open_connections(running: Running) -> int:
    """Connections that the process holds towards callers, seen from outside."""
    wanted = f":{running.port:04X}"
    lines = Path(f"/proc/{running.process.pid}/net/tcp").read_text().splitlines()[1:]
    return sum(1 for each in lines if each.split()[1].endswith(wanted) and each.split()[3] in ("01", "08"))


def test_connection_limit(teacher_url: str, tmp_path: Path) -> None:
    """Above max_connections a caller is told 503 and closed; when others have left, callers are welcome again."""
    with gateway(tmp_path, teacher_url, gateway="max_connections = 20") as process:
        with ExitStack() as stack:
            callers = [stack.enter_context(RawCaller(process.port)) for _ in range(20)]
            with RawCaller(process.port) as one_too_many:
                answer = one_too_many.answer()
                assert (answer.status, answer.named(b"retry-after")) == (503, [b"1"])
                assert one_too_many.closed()
            callers[-1].send(get())
            assert callers[-1].answer().status == 200
        wait_until(lambda: open_connections(process) == 0)
        assert process.predict("billing").status == 200
        assert process.metrics()['stillgate_connections_refused_total{reason="connections"}'] == 1


def test_slow_readers_cost_little_memory(teacher_url: str, tmp_path: Path) -> None:
    """Callers that do not read hold the teacher back: 12 times 8 MB wait there, not in the gateway."""
    with gateway(tmp_path, teacher_url) as process, ExitStack() as stack:
        process.predict("billing")
        before = resident_bytes(process)
        callers = [stack.enter_context(slow_caller(process.port)) for _ in range(12)]
        for caller in callers:
            caller.send(get(target=b"/x?size=8000000&pieces=100"))
        wait_until(lambda: process.metrics()["stillgate_inflight_requests"] == 12)
        first = [caller.socket.recv(100) for caller in callers]
        assert {content[:12] for content in first} == {b"HTTP/1.1 200"}
        honest = [process.predict("billing").status for _ in range(50)]
        assert honest == [200] * 50
        assert resident_bytes(process) - before < 40 * 2**20


def resident_bytes(running: Running) -> int:
    pages = Path(f"/proc/{running.process.pid}/statm").read_text().split()[1]
    return int(pages) * 4096


def test_half_closed_caller_has_left(hasty: Running, teacher: TeacherApp) -> None:
    """A caller that closes its sending side counts as gone: nobody can tell it from one that has left."""
    asked = len(teacher.seen)
    with RawCaller(hasty.port) as caller:
        caller.send(post(b"Content-Length: 2", body=b"{}").replace(b"/x", b"/x?wait=20"))
        wait_until(lambda: len(teacher.seen) > asked)
        caller.socket.shutdown(socket.SHUT_WR)
        assert caller.closed()
    wait_until(teacher.cancelled.is_set)
    hasty.settled()
    assert hasty.exchanges()[-1].outcome is Outcome.CLIENT_DISCONNECT


def test_pipelining_caller_that_leaves(hasty: Running, teacher: TeacherApp) -> None:
    """What a caller sent ahead does not hide that it has left."""
    teacher.cancelled.clear()
    asked = len(teacher.seen)
    with RawCaller(hasty.port) as caller:
        caller.send(get(target=b"/x?wait=20") + get() + END)
        wait_until(lambda: len(teacher.seen) > asked)
    wait_until(teacher.cancelled.is_set)


def test_leaving_at_once_is_counted(hasty: Running) -> None:
    """A whole request whose caller is gone before anything was done about it is a request all the same."""
    before = hasty.settled()["requests"]
    for _ in range(20):
        with RawCaller(hasty.port) as caller:
            caller.send(post(b"Content-Length: 2", body=b"{}"))
            caller.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    connection = http.client.HTTPConnection("127.0.0.1", hasty.port, timeout=10)
    connection.request("GET", "/x")
    assert connection.getresponse().status == 200
    connection.close()
    assert before < hasty.settled()["requests"] <= before + 21
