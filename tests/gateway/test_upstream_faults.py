"""A whole gateway in front of an adversarial teacher: a clear end for the caller, the reason in the record."""

import http.client
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger.exchange import Outcome, ServedBy, Unpaired
from tests.evil_bytes import MALFORMED_BODIES, MALFORMED_HEADS
from tests.evil_peer import (
    EvilPeer,
    Script,
    answer,
    answer_twice,
    closes_silently,
    evil_peer,
    gzip_bomb,
    interim_first,
    late,
    limited,
    malformed,
    resets,
    sliced,
    slow_close,
    stalled,
    trailers,
)
from tests.gateway.running import Reply, Running, gateway, send_raw, wait_until

BODY = b'[{"label":"billing","score":0.9},{"label":"shipping","score":0.05},{"label":"other","score":0.05}]'
PATIENT = answer(BODY)


@pytest.fixture(scope="module")
def peer() -> Iterator[EvilPeer]:
    with evil_peer() as peer:
        yield peer
        assert not peer.violations


@pytest.fixture(scope="module")
def process(peer: EvilPeer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """It gives its teacher a second."""
    with gateway(tmp_path_factory.mktemp("evil"), peer.url, first_byte_seconds=1) as process:
        yield process


@pytest.fixture(autouse=True)
def forgotten(peer: EvilPeer) -> None:
    peer.forget()
    peer.always = PATIENT


def outcome_of_last(process: Running) -> Outcome:
    process.settled()
    return process.exchanges()[-1].outcome


def descriptors(process: Running) -> int:
    return len(os.listdir(f"/proc/{process.process.pid}/fd"))


@pytest.mark.parametrize(
    "script",
    [
        PATIENT,
        answer(BODY, chunked=True),
        answer(BODY, keep_alive=False),
        late(PATIENT, 0.05, jitter=0.1),
        sliced(PATIENT, pause=0.001),
        sliced(answer(BODY, chunked=True)),
        slow_close(answer(BODY, keep_alive=False), 0.2),
        interim_first(PATIENT),
        interim_first(PATIENT, apart=0.1),
        trailers(BODY),
        answer_twice(BODY),
    ],
    ids=["whole", "chunked", "no keep-alive", "late", "sliced", "sliced chunks", "slow close", "interim",
         "interim earlier", "trailers", "twice"],
)  # fmt: skip
def test_odd_but_valid(process: Running, peer: EvilPeer, script: Script) -> None:
    """F1, F6, F8: slow, cut up, chatty: the answer arrives, whole, and is measured."""
    peer.then(script)
    reply = process.predict("hello")
    assert (reply.status, reply.body) == (200, BODY)
    assert {name.lower() for name, _ in reply.headers}.isdisjoint({"x-trailer", "trailer", "link"})
    assert outcome_of_last(process) is Outcome.COMPLETE
    assert process.exchanges()[-1].measured


@pytest.mark.parametrize(
    ("script", "status", "outcome"),
    [
        (closes_silently(), 502, Outcome.UPSTREAM_UNREACHABLE),
        (resets(), 502, Outcome.UPSTREAM_UNREACHABLE),
        (limited(PATIENT, 25), 502, Outcome.UPSTREAM_UNREACHABLE),
        (limited(PATIENT, 25, reset=True), 502, Outcome.UPSTREAM_UNREACHABLE),
        (stalled(PATIENT), 504, Outcome.UPSTREAM_TIMEOUT),
        (stalled(PATIENT, 25), 504, Outcome.UPSTREAM_TIMEOUT),
    ],
    ids=["silent", "reset", "cut in the head", "reset in the head", "stall", "stall in the head"],
)
def test_no_answer(process: Running, peer: EvilPeer, script: Script, status: int, outcome: Outcome) -> None:
    """F2, F3, F7: 502 or 504, once asked, and the next one is served."""
    peer.then(script)
    reply = process.predict("hello")
    assert (reply.status, reply.header("x-stillgate-served-by")) == (status, "gateway")
    assert outcome_of_last(process) is outcome
    assert len(peer.requests) == 1
    assert process.predict("hello").body == BODY


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("way", ["cut", "reset", "stall"])
def test_broken_off(process: Running, peer: EvilPeer, way: str, chunked: bool) -> None:
    """F4, F5: a body that breaks off after it has begun is cut at the caller, never completed."""
    whole = sliced(answer(b"x" * 3000, chunked=chunked), 1500, pause=0.3)
    sent = b"".join(step.content for step in whole)  # type: ignore[union-attr]
    first = sliced(malformed(sent[:2000], close=False), 1500, pause=0.3)
    peer.then((*first, *{"cut": closes_silently(), "reset": resets(), "stall": stalled(())}[way]))
    with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
        process.predict("hello")
    assert outcome_of_last(process) is Outcome.UPSTREAM_TRUNCATED
    assert process.exchanges()[-1].unpaired is Unpaired.INCOMPLETE
    assert process.predict("hello").body == BODY


@pytest.mark.parametrize("content", MALFORMED_HEADS.values(), ids=MALFORMED_HEADS.keys())
def test_malformed_head_reaches_nobody(process: Running, peer: EvilPeer, content: bytes) -> None:
    """F9: 502 of our own, the teacher's connection closed by us, nothing of it forwarded, no second request."""
    peer.then(malformed(content, close=False))
    reply = process.predict("hello")
    assert (reply.status, reply.header("x-stillgate-served-by")) in ((502, "gateway"), (504, "gateway"))
    assert reply.header("content-type") == "application/json"
    assert b'"code":"teacher_' in reply.body
    assert len(peer.requests) == 1
    connection = peer.connections[peer.requests[0].connection]
    wait_until(lambda: connection.closed_at is not None)
    assert connection.ended_by == "peer"


def test_malformed_heads_are_recorded(process: Running, peer: EvilPeer) -> None:
    """F9: as exchanges without a pair, by the gateway."""
    peer.then(malformed(MALFORMED_HEADS["garbage"]))
    process.predict("hello")
    process.settled()
    exchange = process.exchanges()[-1]
    assert (exchange.outcome, exchange.status) == (Outcome.UPSTREAM_UNREACHABLE, 502)
    assert (exchange.served_by, exchange.unpaired) == (ServedBy.GATEWAY, Unpaired.INCOMPLETE)


@pytest.mark.parametrize("content", MALFORMED_BODIES.values(), ids=MALFORMED_BODIES.keys())
def test_malformed_body_is_never_complete(process: Running, peer: EvilPeer, content: bytes) -> None:
    """F9: 502 while nothing has left, else the caller's response is cut."""
    peer.then(malformed(content))
    try:
        reply = process.predict("hello")
    except (http.client.HTTPException, ConnectionError):
        assert outcome_of_last(process) is Outcome.UPSTREAM_TRUNCATED
    else:
        assert reply.status == 502
        assert outcome_of_last(process) is Outcome.UPSTREAM_UNREACHABLE
    assert process.predict("hello").body == BODY


def test_gzip_bomb_passes_as_it_came(process: Running, peer: EvilPeer) -> None:
    """F10: nobody decodes it on the way; the record stops at its limit."""
    peer.then(gzip_bomb(50_000_000))
    reply = process.predict("hello")
    assert (reply.status, reply.header("content-encoding")) == (200, "gzip")
    assert len(reply.body) < 100_000
    assert outcome_of_last(process) is Outcome.COMPLETE
    assert process.exchanges()[-1].unpaired is not None


def test_many_requests_share_few_connections(process: Running, peer: EvilPeer) -> None:
    """A hundred requests one after the other, one connection to the teacher."""
    before = len(peer.connections)
    replies = [process.predict("hello") for _ in range(100)]
    assert {reply.status for reply in replies} == {200}
    assert len(peer.connections) - before <= 1


def test_nothing_is_left_behind(process: Running, peer: EvilPeer) -> None:
    """A hundred requests that end badly in five ways: descriptors as before, and the counts tell the ways."""
    process.predict("hello")
    wait_until(lambda: not peer.open_connections)  # idle ones have ended
    before, counted = descriptors(process), process.metrics()
    ways = [
        closes_silently(),
        resets(),
        limited(PATIENT, 25),
        malformed(b"garbage\r\n\r\n"),
        answer_twice(BODY),
    ]
    peer.then(*ways * 20)
    for _ in range(100):
        process.predict("hello")
    process.settled()
    wait_until(lambda: not peer.open_connections)
    wait_until(lambda: descriptors(process) <= before)
    after = process.metrics()
    ended = {
        outcome: after[name] - counted[name]
        for outcome in ("complete", "closed", "malformed")
        for name in [f'stillgate_upstream_requests_total{{outcome="{outcome}",task="desk"}}']
    }
    assert ended == {"complete": 20, "closed": 60, "malformed": 20}
    assert after['stillgate_upstream_connections{state="busy",task="desk"}'] == 0


@pytest.mark.parametrize(
    "script", [stalled(PATIENT), stalled(answer(b"x" * 5000), 2000)], ids=["head", "body"]
)
def test_leaving_caller_closes_the_teachers_connection(
    peer: EvilPeer, tmp_path: Path, script: Script
) -> None:
    """F11: before the first byte and in the middle of the body."""
    peer.then(script)
    with (
        gateway(tmp_path, peer.url) as patient,
        socket.create_connection(("127.0.0.1", patient.port)) as caller,
    ):
        caller.sendall(b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}")
        wait_until(lambda: len(peer.requests) == 1)
        connection = peer.connections[peer.requests[0].connection]
        caller.close()
        wait_until(lambda: connection.closed_at is not None, seconds=5)  # promised is one second
        patient.settled()
        assert patient.exchanges()[-1].outcome is Outcome.CLIENT_DISCONNECT


def test_breaker(tmp_path: Path) -> None:
    """F2: a teacher that refuses connections costs callers nothing, is shown, and is found again."""
    with evil_peer() as peer, gateway(tmp_path, peer.url) as process:
        peer.refuse()
        replies = [process.predict("hello") for _ in range(12)]
        assert [reply.status for reply in replies[:5]] == [502] * 5
        refused = next(reply for reply in replies if reply.status == 503)
        assert (refused.header("retry-after"), b"teacher_down" in refused.body) == ("1", True)
        metrics = process.metrics()
        assert metrics['stillgate_degraded{part="teacher"}'] == 1
        assert metrics['stillgate_upstream_requests_total{outcome="breaker_open",task="desk"}'] > 0
        peer.listen()
        wait_until(lambda: process.predict("hello").status == 200)
        assert process.metrics()['stillgate_degraded{part="teacher"}'] == 0
        assert "action=breaker_open" in process.log.read_text()
        process.settled()


@pytest.mark.parametrize(
    "target", [b"/x?", b"/x??", b"/x?a=1&", b"/%2F/../x", b"//x", b"/x;p?q=%20+%zz", b"/x?a=[]"]
)
def test_target_is_byte_exact(process: Running, peer: EvilPeer, target: bytes) -> None:
    """An empty query keeps its question mark."""
    send_raw(process.port, b"GET " + target + b" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert peer.requests[-1].target.encode() == target


def test_values_that_are_no_text_pass_both_ways(process: Running, peer: EvilPeer) -> None:
    """obs-text of RFC 9110, section 5.5: the bytes stay as they are, in order, repeated fields repeated."""
    peer.then(answer(BODY, headers=((b"X-Raw", b"\xff\xfe"), (b"Set-Cookie", b"a"), (b"set-cookie", b"b"))))
    received = send_raw(
        process.port,
        b"POST /predict HTTP/1.1\r\nHost: a\r\nX-Raw: \xc3\x28\r\nX-Two: 1\r\nX-Two: 2\r\n"
        b"Content-Length: 2\r\nConnection: close\r\n\r\n{}",
    )
    assert peer.requests[-1].values(b"x-raw") == [b"\xc3\x28"]
    assert peer.requests[-1].values(b"x-two") == [b"1", b"2"]
    assert b"x-raw: \xff\xfe\r\n" in received
    assert received.index(b"set-cookie: a") < received.index(b"set-cookie: b")


def test_head_has_no_body_and_all_fields(process: Running, peer: EvilPeer) -> None:
    """HEAD: Content-Length as the teacher said it, the connection used again."""
    peer.then(malformed(b"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\nX-A: 1\r\n\r\n", close=False))
    reply: Reply = process.ask("HEAD", "/predict")
    assert (reply.header("content-length"), reply.header("x-a"), reply.body) == ("1234", "1", b"")
    assert process.predict("hello").body == BODY
    assert peer.requests[0].connection == peer.requests[1].connection
