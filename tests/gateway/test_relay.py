"""Callers get the teacher's status and body bytes unchanged, and its headers but for the documented list."""

import http.client
import random
from urllib.parse import urlencode, urlsplit

import pytest

from gateway.headers import HOP_BY_HOP, REPLY_HEADERS
from tests.gateway.running import Reply, Running, call_on, send_raw
from tests.gateway.teachers import TeacherApp

NOT_COMPARED = {name.decode() for name in (*HOP_BY_HOP, *REPLY_HEADERS)} | {"date"}


def comparable(reply: Reply) -> list[tuple[str, str]]:
    return [(name.lower(), value) for name, value in reply.headers if name.lower() not in NOT_COMPARED]


class Pair:
    """Two connections: to the teacher, and to the gateway in front of it."""

    def __init__(self, teacher_url: str, running: Running) -> None:
        self._direct = http.client.HTTPConnection(urlsplit(teacher_url).netloc, timeout=20)
        self._through = http.client.HTTPConnection("127.0.0.1", running.port, timeout=20)

    def compare(self, method: str, target: str, body: bytes | None, headers: dict[str, str]) -> Reply:
        direct = call_on(self._direct, method, target, body, headers)
        through = call_on(self._through, method, target, body, headers)
        assert (through.status, through.body) == (direct.status, direct.body), target
        assert comparable(through) == comparable(direct), target
        return through

    def close(self) -> None:
        self._direct.close()
        self._through.close()


@pytest.fixture
def pair(teacher_url: str, running: Running):
    pair = Pair(teacher_url, running)
    yield pair
    pair.close()


BODIES = {
    "text": b'{"inputs":"my billing is wrong"}',
    "list": b'{"inputs":["shipping is late","hello"]}',
    "empty": b"",
    "not utf-8": b"\xff\xfe\x00\x01",
    "not json": b"{",
    "wrong type": b'{"inputs":7}',
    "huge": b'{"inputs":"' + b"word " * 100_000 + b'"}',
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
@pytest.mark.parametrize(
    "query",
    ["", "?coding=gzip", "?coding=deflate", "?chunked=1&pieces=3", "?status=429", "?status=500&coding=gzip"],
)
def test_reply_is_the_teachers(pair: Pair, query: str, body: bytes) -> None:
    """Whatever is sent and however the teacher answers, status, body and headers pass unchanged."""
    pair.compare("POST", f"/predict{query}", body, {"content-type": "application/json"})


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_other_methods_pass(pair: Pair, method: str) -> None:
    """Every method but CONNECT and TRACE reaches the teacher; HEAD keeps its Content-Length without a body."""
    reply = pair.compare(method, "/predict?size=20", None, {})
    assert reply.status == 200
    assert reply.header("content-length") == "20"


@pytest.mark.parametrize("status", [204, 304, 404, 503])
def test_statuses_without_surprises(pair: Pair, status: int) -> None:
    """204 and 304 have no body, errors keep theirs, and the connection goes on after each."""
    pair.compare("GET", f"/any?status={status}&size=11", None, {})
    pair.compare("GET", "/any?size=3", None, {})


@pytest.mark.parametrize("size", [0, 1, 65_536, 3_000_000])
@pytest.mark.parametrize("form", ["", "&chunked=1&pieces=7"])
def test_bodies_of_any_size(pair: Pair, size: int, form: str) -> None:
    """Large replies stream through, whether their length was announced or not."""
    assert len(pair.compare("GET", f"/x?size={size}{form}", None, {}).body) == size


def test_large_request_arrives_whole(pair: Pair, teacher: TeacherApp) -> None:
    """A request body of several megabytes reaches the teacher byte for byte."""
    body = bytes(range(256)) * 12_000
    pair.compare("POST", "/upload", body, {})
    assert teacher.seen[-1][4] == body


def test_huge_reply_header_passes(pair: Pair) -> None:
    """A header far above the usual eight kilobytes reaches the caller."""
    reply = pair.compare("GET", "/x?big_header=60000", None, {})
    assert reply.header("x-big") == "v" * 60_000


def test_path_and_query_are_byte_exact(running: Running, teacher: TeacherApp) -> None:
    """Encoded slashes, dots, double slashes and odd queries are not tidied up."""
    target = "/a%2fb/../c//x;p=1?q=%20+%zz&a=1&a=2&=&b[]=~'()*"
    running.ask("GET", target)
    _, path, query, _, _ = teacher.seen[-1]
    assert (path + b"?" + query).decode() == target


def test_request_headers_on_the_way(running: Running, teacher: TeacherApp) -> None:
    """Credentials pass; hop-by-hop fields and those named in Connection stay; Via and X-Forwarded are ours."""
    raw = (
        b"POST /predict HTTP/1.1\r\nHost: caller.example\r\nAuthorization: Bearer k\r\nX-Twice: 1\r\nX-Twice: 2\r\n"
        b"Connection: close, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nTE: trailers\r\nProxy-Authorization: p\r\n"
        b"X-Forwarded-For: 6.6.6.6\r\nVia: 1.0 edge\r\nContent-Length: 2\r\n\r\n{}"
    )
    send_raw(running.port, raw)
    headers = [(name.decode(), value.decode()) for name, value in teacher.seen[-1][3]]
    assert sorted(headers) == sorted(
        [
            ("host", headers[0][1]),
            ("authorization", "Bearer k"),
            ("x-twice", "1"),
            ("x-twice", "2"),
            ("via", "1.0 edge, 1.1 stillgate-g0"),
            ("x-forwarded-for", "127.0.0.1"),
            ("x-forwarded-proto", "http"),
            ("x-forwarded-host", "caller.example"),
            ("content-length", "2"),
        ]
    )
    assert headers[0][1] != "caller.example"


def test_reply_headers_named_in_connection_stay(running: Running) -> None:
    """What the teacher's Connection names is not for the caller."""
    reply = running.ask("GET", "/x?hop=1")
    assert reply.header("x-secret-hop") is None
    assert [value for name, value in reply.headers if name.lower() == "set-cookie"] == ["a=1", "b=2"]


def test_reply_names_the_exchange(running: Running) -> None:
    """Our two headers say which exchange it is and who served it."""
    reply = running.predict("hello")
    running.settled()
    assert reply.header("x-stillgate-served-by") == "teacher"
    assert running.exchanges()[-1].exchange_id == reply.header("x-stillgate-exchange")


def varied_requests(seed: int, count: int) -> list[tuple[str, str, bytes | None, dict[str, str]]]:
    """Seeded requests over methods, paths, bodies, codings, statuses, sizes and streaming."""
    draw = random.Random(seed)
    requests = []
    for number in range(count):
        query: dict[str, str] = {"n": str(number)}
        for key, values in (
            ("coding", ["gzip", "deflate", None, None]),
            ("chunked", ["1", None]),
            ("pieces", ["1", "2", "5"]),
            ("status", [None] * 6 + ["201", "204", "304", "400", "404", "418", "422", "429", "500", "503"]),
            ("size", [None] * 4 + ["0", "1", "1000", "70000"]),
            ("version", [None, "v1", "v2"]),
        ):
            value = draw.choice(values)
            if value is not None:
                query[key] = value
        method = draw.choice(["POST"] * 6 + ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"])
        body = draw.choice(list(BODIES.values())[:-1]) if method in ("POST", "PUT", "PATCH") else None
        path = draw.choice(["/predict", "/predict", "/v1/other", "/deep/er"])
        headers = draw.choice(
            [{}, {"accept-encoding": "gzip"}, {"x-area": "north"}, {"authorization": "Bearer z"}]
        )
        requests.append((method, f"{path}?{urlencode(query)}", body, headers))
    return requests


def test_thousand_varied_requests(pair: Pair, running: Running) -> None:
    """A thousand varied requests come back byte-identical, and every one of them is accounted for."""
    before = running.settled()
    for method, target, body, headers in varied_requests(seed=7, count=1000):
        pair.compare(method, target, body, headers)
    after = running.settled()
    assert after["requests"] - before["requests"] == 1000
    assert after["recorded"] - before["recorded"] == 1000


def test_overhead_is_ours_alone(running: Running) -> None:
    """A teacher that takes half a second adds nothing to it."""
    before = running.metrics()
    assert running.ask("POST", "/predict?wait=0.5", b'{"inputs":"billing"}').status == 200
    running.settled()
    after = running.metrics()
    grown = {
        name: after[f"stillgate_{name}_seconds_sum"] - before[f"stillgate_{name}_seconds_sum"]
        for name in ("overhead", "request_duration")
    }
    assert grown["request_duration"] > 0.5
    assert 0 < grown["overhead"] < 0.4
