"""HTTP as it stands in RFC 9110 and RFC 9112, byte by byte, on the gateway as configured by default."""

import socket
from collections.abc import Iterator

import orjson
import pytest

from tests.gateway.raw_cases import CASES, END, HOST, METHODS, Case, chunked, get, post
from tests.gateway.running import Running, gateway
from tests.gateway.strict import REPLY, RawCaller, StrictTeacher, strict_teacher

PROBE = get(target=b"/probe")


@pytest.fixture(scope="module")
def strict() -> StrictTeacher:
    return StrictTeacher()


@pytest.fixture(scope="module")
def served(strict: StrictTeacher, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A gateway with every limit at its default, before a strict teacher."""
    with strict_teacher(strict) as url, gateway(tmp_path_factory.mktemp("raw"), url) as process:
        yield process
        assert strict.violations == []


def check(case: Case, caller: RawCaller, strict: StrictTeacher, before: int) -> None:
    """What came back, what the teacher saw, and whether the connection goes on."""
    for status in case.statuses:
        answer = caller.answer(case.bodiless)
        assert answer.status == status
        assert len(answer.named(b"date")) == 1
        if status != 200:
            assert set(orjson.loads(answer.body)) == {"error", "code"}
    assert len(strict.seen) - before == case.seen
    if case.keeps:
        caller.send(PROBE)
        assert caller.answer().body == REPLY
    else:
        assert answer.named(b"connection") == [b"close"]
        assert caller.closed()
    assert len(strict.seen) - before == case.seen + case.keeps
    assert strict.violations == []


@pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])
def test_bytes_as_a_whole(served: Running, strict: StrictTeacher, case: Case) -> None:
    """Sent at once."""
    before = len(strict.seen)
    with RawCaller(served.port) as caller:
        caller.send(case.sent)
        check(case, caller, strict, before)


FRAGMENTED = [case for case in CASES if len(case.sent) < 200]


@pytest.mark.parametrize("case", FRAGMENTED[::2], ids=[case.id for case in FRAGMENTED[::2]])
def test_bytes_one_by_one(served: Running, strict: StrictTeacher, case: Case) -> None:
    """The same cases give the same answers when every byte comes in a packet of its own."""
    before = len(strict.seen)
    with RawCaller(served.port) as caller:
        caller.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in case.sent:
            try:
                caller.send(bytes([byte]))
            except ConnectionError:  # refused before its last byte
                break
        check(case, caller, strict, before)


def seen_of(served: Running, strict: StrictTeacher, sent: bytes, bodiless: bool = False):
    """What the teacher sees of one request."""
    with RawCaller(served.port) as caller:
        caller.send(sent)
        assert caller.answer(bodiless).status == 200
    return strict.seen[-1]


TARGETS = [b"/x?", b"/x??", b"/a%2Fb/../c//d;p?q=%20+%zz&=", b"//", b"/?", b'/x?[a]={b}|^`\\"<>']


@pytest.mark.parametrize("target", TARGETS)
def test_target_is_untouched(served: Running, strict: StrictTeacher, target: bytes) -> None:
    """Path and query reach the teacher byte for byte, an empty query's mark included (RFC 9110 section 7.7)."""
    assert seen_of(served, strict, get(target=target)).target == target


@pytest.mark.parametrize(
    ("method", "sent", "seen"),
    [
        (b"GET", b"http://other.example:81/x?y=1", b"/x?y=1"),
        (b"GET", b"http://other.example:81", b"/"),
        (b"GET", b"http://other.example:81?y", b"/?y"),
        (b"OPTIONS", b"http://other.example:81", b"*"),
    ],
)
def test_absolute_target(
    served: Running, strict: StrictTeacher, method: bytes, sent: bytes, seen: bytes
) -> None:
    """The target's own authority counts and Host does not; the teacher is asked in origin-form."""
    request = seen_of(served, strict, get(method=method, target=sent))
    assert (request.method, request.target) == (method, seen)
    assert request.named(b"x-forwarded-host") == [b"other.example:81"]
    assert request.named(b"host")[0].startswith(b"127.0.0.1:")


@pytest.mark.parametrize("case", [case for case in METHODS if case.seen], ids=lambda case: case.id)
def test_method_is_untouched(served: Running, strict: StrictTeacher, case: Case) -> None:
    """Whatever the method, it is the one that the teacher is asked with."""
    assert seen_of(served, strict, case.sent, case.bodiless).method == case.sent.split(b" ")[0]


@pytest.mark.parametrize("name", [b"Authorization", b"Host", b"Content-Length", b"X-Own"])
def test_trailers_are_dropped(served: Running, strict: StrictTeacher, name: bytes) -> None:
    """A trailer becomes no field of the request (RFC 9110 section 6.5.1)."""
    request = seen_of(served, strict, chunked(b"2\r\n{}\r\n0\r\n" + name + b": 77\r\n\r\n"))
    assert request.body == b"{}"
    assert all(value != b"77" for _, value in request.fields)


def test_connection_cannot_name_what_frames_the_request(served: Running, strict: StrictTeacher) -> None:
    """A field named in Connection goes no further, but the teacher is told the body's length all the same."""
    sent = post(b"Connection: Content-Length, Host, X-Hop", b"X-Hop: 1", b"Content-Length: 2", body=b"{}")
    request = seen_of(served, strict, sent)
    assert (request.body, request.named(b"x-hop")) == (b"{}", [])
    assert (len(request.named(b"host")), len(request.named(b"content-length"))) == (1, 1)


def test_continue_comes_after_the_checks(served: Running, strict: StrictTeacher) -> None:
    """100 (Continue) is sent once the head has passed, then the body is read (RFC 9110 section 10.1.1)."""
    with RawCaller(served.port) as caller:
        caller.send(post(b"Expect: 100-continue", b"Content-Length: 2"))
        assert caller.interim() == b"HTTP/1.1 100 Continue\r\n\r\n"
        caller.send(b"{}")
        assert caller.answer().status == 200
    assert (strict.seen[-1].body, strict.seen[-1].named(b"expect")) == (b"{}", [])


def test_continue_is_not_for_http_1_0(served: Running) -> None:
    """A caller that speaks HTTP/1.0 gets no interim response (RFC 9110 section 15.2)."""
    with RawCaller(served.port) as caller:
        caller.send(b"POST /x HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        caller.send(b"{}")
        assert caller.socket.recv(12) == b"HTTP/1.1 200"


def test_http_1_0_gets_no_chunks(served: Running) -> None:
    """A reply of unknown length ends with the connection where chunks are not understood."""
    with RawCaller(served.port) as caller:
        caller.send(b"GET /chunked HTTP/1.0\r\n\r\n")
        received = b""
        while content := caller.socket.recv(65536):
            received += content
    head, _, body = received.partition(b"\r\n\r\n")
    assert body == REPLY
    assert b"transfer-encoding" not in head


@pytest.mark.parametrize("size", [10 * 2**20, 10 * 2**20 + 1], ids=["at the limit", "one byte above"])
@pytest.mark.parametrize("form", ["length", "chunks"])
def test_body_limit(served: Running, strict: StrictTeacher, size: int, form: str) -> None:
    """A body of max_body_bytes passes; one byte more is 413, in full view of a caller that goes on sending."""
    body = b"x" * size
    sent = post(b"Content-Length: %d" % size, body=body)
    if form == "chunks":
        half = size // 2
        rest = b"%x\r\n%b\r\n0\r\n\r\n" % (size - half, body[half:])
        sent = chunked(b"%x\r\n%b\r\n" % (half, body[:half]) + rest)
    before = len(strict.seen)
    with RawCaller(served.port) as caller:
        try:
            caller.send(sent)
        except ConnectionError:
            assert size > 10 * 2**20
        assert caller.answer().status == (200 if size == 10 * 2**20 else 413)
    assert [len(request.body) for request in strict.seen[before:]] == ([size] if size == 10 * 2**20 else [])


def test_refusals_are_counted_by_reason(served: Running, strict: StrictTeacher) -> None:
    """What never became a started request is counted beside the requests, not among them."""
    before, requests = served.metrics(), served.settled()["requests"]
    for _ in range(3):
        with RawCaller(served.port) as caller:
            caller.send(b"GET /x HTTP/1.1\r\n" + HOST + b"X : 1" + END + END)
            assert caller.answer().status == 400
    name = 'stillgate_connections_refused_total{reason="space_before_colon"}'
    assert served.metrics()[name] - before.get(name, 0) == 3
    assert served.settled()["requests"] == requests


def test_every_case_is_accounted_for(served: Running) -> None:
    """After all of them, the gateway has nothing in flight and its accounts agree."""
    served.settled()
    assert served.metrics()["stillgate_inflight_requests"] == 0
