"""The open-loop generator against servers of a few lines."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from benchmarks.open_loop import finished, judged, offer, offering
from benchmarks.traffic import CHAT, CLASSIFICATION, REPLY_BYTES

OK = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % REPLY_BYTES + CLASSIFICATION.reply


@contextmanager
def serving(reply: Callable[[int], bytes]) -> Iterator[int]:
    """Answers the n-th request with `reply(n)`; empty bytes close the connection. Yields the port."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=256)
    counter, lock = iter(range(10**9)), threading.Lock()

    def converse(connection: socket.socket) -> None:
        with connection:
            while request := connection.recv(65_536):
                assert request.endswith(CLASSIFICATION.body)
                with lock:
                    number = next(counter)
                answer = reply(number)
                if not answer:
                    return
                connection.sendall(answer)

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=converse, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def test_every_request_is_sent_and_timed() -> None:
    """Rate times seconds requests, all of them answered rightly."""
    with serving(lambda number: OK) as port:
        seen = offer(port, "classification", 200, 1.0)
    assert len(seen.latencies_us) == 200
    assert seen.error_count == 0
    assert seen.latencies_us.min() > 0


def test_a_stall_counts_for_every_request_that_was_due_meanwhile() -> None:
    """A server that stands still for half a second delays all that is due then, not the one it holds."""
    stalled = threading.Lock()

    def reply(number: int) -> bytes:
        with stalled:
            if number == 50:
                time.sleep(0.5)  # the behaviour under test
        return OK

    with serving(reply) as port:
        seen = offer(port, "classification", 100, 1.5)
    assert len(seen.latencies_us) == 150
    assert (seen.latencies_us > 100_000).sum() >= 30  # a closed loop would have seen it once a connection


def test_errors_are_counted_by_kind() -> None:
    """Another status, another body, a cut connection; the right answers are timed all the same."""
    refused = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"
    changed = OK.replace(b"dogs", b"cows")
    odd = {10: refused, 20: changed, 30: b""}
    with serving(lambda number: odd.get(number, OK)) as port:
        seen = offer(port, "classification", 100, 0.5)
    assert seen.errors == {"status 503": 1, "wrong body": 1, "cut": 1}
    assert len(seen.latencies_us) == 47


@pytest.mark.parametrize(
    ("received", "verdict"),
    [
        (OK[:20], None),
        (OK[:-1], None),
        (OK, ""),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n[[{\r\n", None),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n"
            % (REPLY_BYTES, CLASSIFICATION.reply),
            "",
        ),
        (b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 2\r\n\r\nno", "status 502"),
    ],
)
def test_a_response_is_judged_when_it_is_whole(received: bytes, verdict: str | None) -> None:
    """By its length or its last chunk, never before."""
    assert judged(received, CLASSIFICATION.reply) == verdict


def test_both_kinds_of_gateway_carry_as_much() -> None:
    """The two replies have one size."""
    assert len(CHAT.reply) == len(CLASSIFICATION.reply) == REPLY_BYTES


def test_a_generator_that_is_told_to_stop_says_what_it_saw() -> None:
    """SIGTERM ends the sending early, and loses nothing that was sent."""
    arrived = threading.Event()

    def reply(number: int) -> bytes:
        if number == 20:
            arrived.set()
        return OK

    with serving(reply) as port, offering(port, "classification", 100, 600) as process:
        assert arrived.wait(30)
        process.terminate()
        seen = finished(process)
    assert 20 <= len(seen.latencies_us) < 60_000
    assert seen.error_count == 0
