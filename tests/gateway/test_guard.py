"""What is refused before the teacher is asked, over raw sockets."""

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger.exchange import Outcome, ServedBy, Unpaired
from tests.gateway.running import Running, gateway, send_raw, wait_until
from tests.gateway.teachers import TeacherApp

CLOSE = b"Connection: close\r\n\r\n"
POST = b"POST /predict HTTP/1.1\r\n"


@pytest.fixture(scope="module")
def small(teacher_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A gateway with tight limits."""
    limits = "max_in_flight = 2\nmax_body_bytes = 2048"
    with gateway(tmp_path_factory.mktemp("small"), teacher_url, gateway=limits) as process:
        yield process


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (POST + b"Content-Length: 2\r\n\r\n{}", 400),
        (POST + b"Host: a\r\nHost: b\r\nContent-Length: 2\r\n\r\n{}", 400),
        (POST + b"Host: a/b\r\nContent-Length: 2\r\n\r\n{}", 400),
        (POST + b"Host: u@a\r\nContent-Length: 2\r\n\r\n{}", 400),
        (POST + b"Host: a\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (POST + b"Host: a\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}x", 400),
        (POST + b"Host: a\r\nX Bad: 1\r\n\r\n", 400),
        (POST + b"Host: a\r\nX-Bad : 1\r\nContent-Length: 0\r\n\r\n", 400),
        (POST + b"Host: a\r\nX-Bytes: \xff\xfe\r\n" + CLOSE, 200),
        (b"TRACE /x HTTP/1.1\r\nHost: a\r\n" + CLOSE, 405),
        (b"GET /x HTTP/1.1\r\nHost: a\r\nVia: 1.1 stillgate-g0\r\n" + CLOSE, 508),
        (POST + b"Host: a\r\nContent-Length: 2049\r\n\r\n" + b"x" * 2049, 413),
        (POST + b"Host: a\r\nContent-Length: 2048\r\n" + CLOSE + b"x" * 2048, 200),
        (b"GET /x HTTP/1.0\r\n\r\n", 200),
        (b"GET http://elsewhere/x HTTP/1.1\r\nHost: a\r\n" + CLOSE, 200),
    ],
)
def test_request_by_its_bytes(small: Running, content: bytes, status: int) -> None:
    """The status that each form of request gets."""
    received = send_raw(small.port, content)
    assert received.split(b"\r\n")[0].split(b" ")[1] == str(status).encode(), received[:300]


def test_connect_reaches_nobody(small: Running, teacher: TeacherApp) -> None:
    """CONNECT opens no tunnel: it is refused with an error status."""
    asked = len(teacher.seen)
    received = send_raw(small.port, b"CONNECT elsewhere:443 HTTP/1.1\r\nHost: elsewhere:443\r\n\r\n")
    assert received.split(b" ")[1] in (b"400", b"405")
    assert len(teacher.seen) == asked


def test_ambiguous_length_closes_the_connection(small: Running, teacher: TeacherApp) -> None:
    """What follows a request with an ambiguous length is not taken for a second request."""
    asked = len(teacher.seen)
    smuggled = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
    head = POST + b"Host: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    assert send_raw(small.port, head + smuggled).count(b"HTTP/1.1 ") == 1
    assert len(teacher.seen) == asked


def test_body_limit_while_streaming(small: Running, teacher: TeacherApp) -> None:
    """A chunked body is refused as soon as it exceeds the limit, before it has ended."""
    asked = len(teacher.seen)
    with socket.create_connection(("127.0.0.1", small.port), timeout=10) as connection:
        connection.sendall(POST + b"Host: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        connection.sendall(b"1000\r\n" + b"x" * 4096 + b"\r\n")
        received = connection.recv(65536)
    assert received.startswith(b"HTTP/1.1 413 ")
    assert len(teacher.seen) == asked


def test_trailers_do_not_become_headers(small: Running, teacher: TeacherApp) -> None:
    """A trailer named Authorization is dropped, not merged into the headers."""
    content = (
        POST + b"Host: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n2\r\n{}\r\n0\r\n"
        b"Authorization: Bearer stolen\r\n\r\n"
    )
    assert send_raw(small.port, content).startswith(b"HTTP/1.1 200 ")
    assert b"authorization" not in dict(teacher.seen[-1][3])


def test_in_flight_limit(small: Running, teacher: TeacherApp) -> None:
    """Above the limit requests are refused at once with 503 and Retry-After; below it they pass again."""
    asked = len(teacher.seen)
    threads = [
        threading.Thread(target=small.ask, args=("POST", "/predict?wait=1.5", b'{"inputs":"x"}'))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(teacher.seen) == asked + 2)
    refused = small.predict("x")
    for thread in threads:
        thread.join()
    assert (refused.status, refused.header("retry-after")) == (503, "1")
    assert small.predict("x").status == 200


def test_refused_requests_are_recorded(small: Running) -> None:
    """A refusal is an exchange too: with its status, the gateway as who served, and no pair."""
    small.ask("POST", "/predict", b"x" * 5000)
    small.settled()
    exchange = small.exchanges()[-1]
    assert (exchange.outcome, exchange.status) == (Outcome.REFUSED, 413)
    assert (exchange.served_by, exchange.unpaired) == (ServedBy.GATEWAY, Unpaired.INCOMPLETE)


def test_leaving_while_sending_the_body(small: Running) -> None:
    """A caller that leaves before its body is complete is recorded as a disconnect."""
    with socket.create_connection(("127.0.0.1", small.port), timeout=10) as connection:
        connection.sendall(POST + b"Host: a\r\nContent-Length: 100\r\n\r\nhalf")
    small.settled()
    assert small.exchanges()[-1].outcome is Outcome.CLIENT_DISCONNECT


def test_trusted_proxy(teacher_url: str, teacher: TeacherApp, tmp_path: Path) -> None:
    """What a peer in trusted_proxies says of the caller before it reaches the teacher, with the peer added."""
    said = b"X-Forwarded-For: 1.1.1.1\r\nX-Forwarded-Proto: https\r\nForwarded: for=1.1.1.1\r\n"
    settings = 'trusted_proxies = ["127.0.0.0/8", "::1"]'
    with gateway(tmp_path, teacher_url, gateway=settings) as process:
        send_raw(process.port, b"GET /x HTTP/1.1\r\nHost: a\r\n" + said + CLOSE)
    fields = dict(teacher.seen[-1][3])
    assert fields[b"x-forwarded-for"] == b"1.1.1.1, 127.0.0.1"
    assert fields[b"x-forwarded-proto"] == b"https"
    assert fields[b"forwarded"] == b"for=1.1.1.1, for=127.0.0.1;proto=http"
