"""Whatever the teacher does wrong, the caller gets a clear end and the exchange its reason."""

import http.client
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from ledger.exchange import Outcome, ServedBy, Unpaired
from ledger.observation import ObservationError
from tests.gateway.running import Running, call_on, gateway, wait_until
from tests.gateway.teachers import BareTeacher, TeacherApp, serving_bytes
from tests.ports import free_port

HEAD = b"HTTP/1.1 200 OK\r\n"


@pytest.fixture(scope="module")
def impatient(teacher_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A gateway that gives its teacher half a second."""
    with gateway(tmp_path_factory.mktemp("impatient"), teacher_url, first_byte_seconds=0.5) as process:
        yield process


@pytest.fixture(scope="module")
def bare() -> BareTeacher:
    return BareTeacher()


@pytest.fixture(scope="module")
def before_bare(bare: BareTeacher, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A gateway whose teacher writes whatever bytes a test gives it."""
    with serving_bytes(bare) as url, gateway(tmp_path_factory.mktemp("bare"), url) as process:
        yield process


def test_unreachable_teacher_is_502(tmp_path: Path) -> None:
    """Nobody listens where the teacher should: 502 at once, recorded as unreachable."""
    with gateway(tmp_path, f"http://127.0.0.1:{free_port()}") as process:
        reply = process.predict("hello")
        process.settled()
        (exchange,) = process.exchanges()
    assert (reply.status, reply.header("x-stillgate-served-by")) == (502, "gateway")
    assert (exchange.outcome, exchange.status) == (Outcome.UPSTREAM_UNREACHABLE, 502)
    assert (exchange.served_by, exchange.unpaired) == (ServedBy.GATEWAY, Unpaired.INCOMPLETE)


def test_silent_teacher_is_504(impatient: Running) -> None:
    """No first byte within the time allowed: 504."""
    assert impatient.ask("POST", "/predict?wait=3", b'{"inputs":"x"}').status == 504
    impatient.settled()
    assert impatient.exchanges()[-1].outcome is Outcome.UPSTREAM_TIMEOUT


def test_stalled_stream_is_cut(impatient: Running) -> None:
    """A stream that stalls is cut at the caller too, never completed."""
    with pytest.raises(http.client.IncompleteRead):
        impatient.ask("GET", "/predict?size=3000&pieces=3&chunked=1&pause=3")
    impatient.settled()
    assert impatient.exchanges()[-1].outcome is Outcome.UPSTREAM_TRUNCATED


@pytest.mark.parametrize("form", ["", "&chunked=1"])
def test_cut_stream_is_cut(impatient: Running, form: str) -> None:
    """The teacher dies in the middle of a body: the caller sees an incomplete body, the record says so."""
    with pytest.raises(http.client.IncompleteRead) as cut:
        impatient.ask("GET", f"/predict?size=3000&pieces=3&pause=0.1&cut=1{form}")
    impatient.settled()
    assert cut.value.partial == (b"0123456789abcdef" * 63)[:1000]
    exchange = impatient.exchanges()[-1]
    assert (exchange.outcome, exchange.unpaired) == (Outcome.UPSTREAM_TRUNCATED, Unpaired.INCOMPLETE)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"garbage\r\n\r\n",
        HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"Content-Length : 5\r\n\r\nhello",
        HEAD + b"X-Bad: a\x00b\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/1.1 999 What\r\nContent-Length: 0\r\n\r\n",
        HEAD + b"X-Huge: " + b"v" * 300_000 + b"\r\n\r\n",
    ],
    ids=["closed", "garbage", "two lengths", "length and chunked", "space", "nul", "101", "999", "huge"],
)
def test_invalid_reply_is_502(before_bare: Running, bare: BareTeacher, content: bytes) -> None:
    """A reply that is not valid HTTP never reaches the caller: 502 from the gateway."""
    bare.content, bare.reset = content, False
    reply = before_bare.predict("hello")
    before_bare.settled()
    assert (reply.status, reply.header("x-stillgate-served-by")) == (502, "gateway")
    assert before_bare.exchanges()[-1].unpaired is Unpaired.INCOMPLETE


def test_reset_before_the_head_is_502(before_bare: Running, bare: BareTeacher) -> None:
    """A connection reset instead of a reply is a 502."""
    bare.content, bare.reset = b"", True
    assert before_bare.predict("hello").status == 502


def test_reset_in_the_body_is_cut(before_bare: Running, bare: BareTeacher) -> None:
    """A connection reset in the middle of a body cuts the caller's or is a 502, never a whole reply."""
    bare.content, bare.reset = HEAD + b"Content-Length: 100\r\n\r\nhalf", True
    with suppress(http.client.HTTPException):
        assert before_bare.predict("hello").status == 502
    before_bare.settled()
    outcome = before_bare.exchanges()[-1].outcome
    assert outcome in (Outcome.UPSTREAM_TRUNCATED, Outcome.UPSTREAM_UNREACHABLE)


@pytest.mark.parametrize(
    ("reply", "unpaired"),
    [
        ('{"error":"x"}', Unpaired.TEACHER_MALFORMED),
        ("notjson", Unpaired.TEACHER_MALFORMED),
        ("[]", Unpaired.TEACHER_MALFORMED),
        ("", Unpaired.TEACHER_MALFORMED),
    ],
)
def test_unreadable_reply_is_recorded(running: Running, reply: str, unpaired: Unpaired) -> None:
    """A 2xx reply that the dialect cannot read reaches the caller and is recorded with its reason."""
    got = (
        running.ask("POST", f"/predict?raw={reply}", b'{"inputs":"x"}')
        if reply
        else running.ask("POST", "/predict?size=0", b'{"inputs":"x"}')
    )
    running.settled()
    assert got.body == reply.encode()
    assert running.exchanges()[-1].unpaired is unpaired


def test_sum_other_than_one_is_recorded(running: Running) -> None:
    """Probabilities that do not sum to one become an observation's error, not a lost exchange."""
    reply = '[{"label":"billing","score":0.9},{"label":"shipping","score":0.9},{"label":"other","score":0.9}]'
    running.ask("POST", f"/predict?raw={reply.replace(' ', '')}", b'{"inputs":"x"}')
    running.settled()
    exchange = running.exchanges()[-1]
    assert [observation.error for observation in exchange.teacher] == [ObservationError.NOT_NORMALISED]
    assert exchange.unpaired is None


@pytest.mark.parametrize(
    ("body", "unpaired"),
    [
        (b"", Unpaired.REQUEST_NOT_JSON),
        (b"\xff\xfe", Unpaired.REQUEST_NOT_JSON),
        (b'{"inputs":5}', Unpaired.REQUEST_NOT_TEXT),
        (b'{"inputs":""}', Unpaired.REQUEST_EMPTY),
        (b'{"inputs":"' + b"w " * 600_000 + b'"}', Unpaired.REQUEST_TOO_LARGE),
    ],
    ids=["empty", "not utf-8", "wrong type", "empty text", "huge"],
)
def test_odd_requests_pass_and_are_recorded(running: Running, body: bytes, unpaired: Unpaired) -> None:
    """A request that cannot be read gets the teacher's answer and is recorded as unpaired with the reason."""
    assert running.ask("POST", "/predict", body).status == 200
    running.settled()
    assert running.exchanges()[-1].unpaired is unpaired


def test_large_reply_is_recorded_without_pair(running: Running) -> None:
    """A reply above what is kept passes whole and is recorded as too large."""
    assert len(running.ask("POST", "/predict?size=2000000", b'{"inputs":"x"}').body) == 2_000_000
    running.settled()
    assert running.exchanges()[-1].unpaired is Unpaired.RESPONSE_TOO_LARGE


def test_unknown_path_is_recorded_without_task(running: Running) -> None:
    """A path of no task passes to the first task's teacher and is recorded without a task."""
    assert running.ask("GET", "/health").status == 200
    running.settled()
    exchange = running.exchanges()[-1]
    assert (exchange.task, exchange.unpaired) == ("", Unpaired.NO_TASK)


def test_recorded_exchange(running: Running) -> None:
    """A paired exchange holds inputs, words, digests, slice attributes, epoch and the teacher's observations."""
    running.ask(
        "POST",
        "/predict?version=v9&coding=gzip",
        b'{"inputs":["my billing","a b c"]}',
        x_area="north",
        other="no",
    )
    running.settled()
    exchange = running.exchanges()[-1]
    assert (exchange.inputs, exchange.input_words) == (("my billing", "a b c"), (2, 3))
    assert exchange.attributes == {"x-area": "north"}
    assert exchange.teacher_epoch == "v9"
    assert [observation.probabilities for observation in exchange.teacher] == [
        (0.9, 0.05, 0.05),
        (0.5, 0.3, 0.2),
    ]
    assert exchange.measured
    assert exchange.inclusion == 1


def test_inputs_are_not_stored_where_nothing_is_kept(running: Running) -> None:
    """capture.inputs = "nothing" keeps words and digests, and no text."""
    body = b'{"id":"q1","inputs":[{"name":"t","shape":[1],"datatype":"BYTES","data":["secret words"]}]}'
    running.ask("POST", "/v2/models/desk/infer", body)
    running.settled()
    exchange = running.exchanges()[-1]
    assert (exchange.task, exchange.inputs, exchange.input_words) == ("wire", ("",), (2,))
    assert exchange.teacher[0].probabilities == (0.5, 0.3, 0.2)


def test_leaving_caller_cancels_the_teacher(running: Running, teacher: TeacherApp) -> None:
    """A caller that disconnects while the teacher thinks: its request is cancelled within a second or so."""
    teacher.cancelled.clear()
    asked = len(teacher.seen)
    connection = http.client.HTTPConnection("127.0.0.1", running.port)
    connection.request("POST", "/predict?wait=15", b'{"inputs":"x"}')
    wait_until(lambda: len(teacher.seen) > asked)
    connection.close()
    left_at = time.monotonic()
    assert teacher.cancelled.wait(10)
    assert time.monotonic() - left_at < 5  # promised is one second; a loaded machine gets more
    running.settled()
    assert running.exchanges()[-1].outcome is Outcome.CLIENT_DISCONNECT


def test_leaving_in_the_middle_of_a_stream(running: Running) -> None:
    """A caller that leaves in mid-stream is recorded as such, and the next one is served."""
    connection = http.client.HTTPConnection("127.0.0.1", running.port)
    connection.request("GET", "/predict?size=3000&pieces=30&pause=0.3")
    response = connection.getresponse()
    response.read(100)
    response.close()
    connection.close()
    running.settled()
    assert running.exchanges()[-1].outcome is Outcome.CLIENT_DISCONNECT
    assert running.predict("hello").status == 200


def test_redirects_are_not_followed(running: Running, teacher: TeacherApp) -> None:
    """A redirect is the caller's to follow."""
    asked = len(teacher.seen)
    assert running.ask("GET", "/predict?status=302").status == 302
    assert len(teacher.seen) == asked + 1


def test_keep_alive_over_many_requests(running: Running) -> None:
    """One connection carries request after request."""
    connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=20)
    statuses = [call_on(connection, "POST", "/predict", b'{"inputs":"x"}', {}).status for _ in range(20)]
    connection.close()
    assert statuses == [200] * 20
