"""Reading responses, bytes alone: what is valid is read exactly, what is not is refused, however it is cut up."""

import random

import pytest

from gateway.upstream.reader import ResponseReader
from tests.evil_bytes import CHUNKED, MALFORMED_BODIES, MALFORMED_HEADS, OK

MAX_HEAD_BYTES, MAX_FIELDS = 256 * 1024, 1000
SEGMENT = 64 * 1024  # what a transport hands over at most, about
PIECES = [1, 7, SEGMENT]


def read(content: bytes, size: int = SEGMENT, bodiless: bool = False) -> ResponseReader:
    """A reader after the content, in pieces, up to the one that it refuses."""
    reader = ResponseReader(MAX_HEAD_BYTES, MAX_FIELDS)
    reader.begin(bodiless)
    feed(reader, content, size)
    return reader


def feed(reader: ResponseReader, content: bytes, size: int = SEGMENT) -> None:
    for start in range(0, len(content), size):
        if not reader.malformed:
            reader.feed(content[start : start + size])


def piece_for(content: bytes, size: int) -> int:
    """Long contents are not fed byte by byte: that would take minutes."""
    return size if len(content) < 5000 else max(size, 4096)


@pytest.mark.parametrize("size", PIECES)
@pytest.mark.parametrize("content", MALFORMED_HEADS.values(), ids=MALFORMED_HEADS.keys())
def test_malformed_head(content: bytes, size: int) -> None:
    """No status is ever seen of a response whose head is invalid."""
    reader = read(content, piece_for(content, size))
    assert (reader.malformed, reader.status, reader.ended) == (True, 0, False)


@pytest.mark.parametrize("size", PIECES)
@pytest.mark.parametrize("content", MALFORMED_BODIES.values(), ids=MALFORMED_BODIES.keys())
def test_malformed_body(content: bytes, size: int) -> None:
    """A response whose body is invalid or broken off never ends."""
    reader = read(content, piece_for(content, size))
    reader.end_of_connection()
    assert not reader.ended
    assert not reader.reusable


@pytest.mark.parametrize("size", PIECES)
@pytest.mark.parametrize(
    ("content", "body"),
    [
        (OK + b"Content-Length: 5\r\n\r\nhello", b"hello"),
        (OK + b"content-length:5\r\n\r\nhello", b"hello"),
        (OK + b"Content-Length: 5 \t\r\n\r\nhello", b"hello"),
        (OK + b"Content-Length: 0\r\n\r\n", b""),
        (CHUNKED + b"5\r\nhello\r\n0\r\n\r\n", b"hello"),
        (CHUNKED + b"1\r\nh\r\n4;ext=1\r\nello\r\n0\r\n\r\n", b"hello"),
        (CHUNKED + b"0005\r\nhello\r\n0\r\nX-Trailer: 1\r\n\r\n", b"hello"),
        (OK + b"Transfer-Encoding: Chunked \r\n\r\n0\r\n\r\n", b""),
        (b"HTTP/1.1 200\r\nContent-Length: 5\r\n\r\nhello", b"hello"),
        (b"HTTP/1.1 200 \r\nContent-Length: 5\r\n\r\nhello", b"hello"),
        (b"HTTP/1.1 200 \xe4\xf6\xfc\t!\r\nContent-Length: 5\r\n\r\nhello", b"hello"),
        (OK + b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 5\r\n\r\nhello", b"hello"),
        (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello", b"hello"),
        (b"HTTP/1.1 103 Early\r\nLink: <a>\r\n\r\nHTTP/1.1 100 C\r\n\r\n" + OK + b"Content-Length: 1\r\n\r\nx", b"x"),
    ],
)  # fmt: skip
def test_valid_response(content: bytes, body: bytes, size: int) -> None:
    """Framing of every kind is read to its end, and the connection can be used again."""
    reader = read(content, size)
    assert (reader.malformed, reader.status, reader.ended, reader.reusable) == (False, 200, True, True)
    assert reader.take() == body


@pytest.mark.parametrize("size", PIECES)
@pytest.mark.parametrize(
    "content",
    [
        OK + b"\r\nhello",
        b"HTTP/1.0 200 OK\r\n\r\nhello",
        b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        OK + b"Connection: close\r\nContent-Length: 5\r\n\r\nhello",
        OK + b"Connection: Keep-Alive, CLOSE\r\n\r\nhello",
    ],
)
def test_connection_that_ends(content: bytes, size: int) -> None:
    """HTTP/1.0, `Connection: close` and bodies without a length: read, and not used again."""
    reader = read(content, size)
    reader.end_of_connection()
    assert (reader.malformed, reader.ended, reader.reusable) == (False, True, False)
    assert reader.take() == b"hello"


@pytest.mark.parametrize("size", PIECES)
@pytest.mark.parametrize(
    ("status", "fields", "bodiless"),
    [
        (200, b"Content-Length: 20\r\n", True),
        (200, b"Transfer-Encoding: chunked\r\n", True),
        (304, b"Content-Length: 20\r\n", False),
        (304, b"Transfer-Encoding: chunked\r\n", False),
        (304, b"", False),
        (204, b"", False),
        (204, b"Content-Length: 0\r\n", False),
    ],
)
def test_response_without_a_body(status: int, fields: bytes, bodiless: bool, size: int) -> None:
    """HEAD, 204 and 304 end with their head, keep its fields, and the next response is read."""
    reader = read(b"HTTP/1.1 %d X\r\nX-A: 1\r\n%b\r\n" % (status, fields), size, bodiless)
    assert (reader.status, reader.ended, reader.reusable, reader.take()) == (status, True, True, b"")
    assert reader.headers[0] == (b"x-a", b"1")
    assert len(reader.headers) == 1 + (fields != b"")
    reader.begin(bodiless=False)
    feed(reader, OK + b"Content-Length: 2\r\n\r\nhi", size)
    assert (reader.ended, reader.take()) == (True, b"hi")


@pytest.mark.parametrize("size", PIECES)
@pytest.mark.parametrize(
    ("content", "bodiless"),
    [
        (OK + b"Content-Length: 5\r\n\r\nhello" + OK + b"Content-Length: 5\r\n\r\nother", False),
        (OK + b"Content-Length: 5\r\n\r\nhello!", False),
        (CHUNKED + b"5\r\nhello\r\n0\r\n\r\ngarbage", False),
        (OK + b"Content-Length: 5\r\n\r\nhello", True),
    ],
    ids=["second response", "longer than its length", "after the last chunk", "body of a HEAD"],
)
def test_bytes_after_the_response(content: bytes, bodiless: bool, size: int) -> None:
    """They reach nobody, and the connection is not used again."""
    reader = read(content, size, bodiless)
    assert (reader.malformed, reader.ended, reader.reusable) == (False, True, False)
    assert reader.take() == (b"" if bodiless else b"hello")


def test_fields_are_kept_as_they_came() -> None:
    """Order, repetition and bytes of values stay; names are in lower case; trailers and hints are not there."""
    content = b"HTTP/1.1 103 E\r\nX-Hint: 1\r\n\r\n" + OK
    content += b"Set-Cookie: a\r\nX-Raw: \xff\xfe;\t z\r\nset-cookie: b\r\nX-Empty:\r\n"
    reader = read(content + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX-Trailer: 1\r\n\r\n")
    assert reader.headers == [
        (b"set-cookie", b"a"),
        (b"x-raw", b"\xff\xfe;\t z"),
        (b"set-cookie", b"b"),
        (b"x-empty", b""),
        (b"transfer-encoding", b"chunked"),
    ]


@pytest.mark.parametrize(("more", "malformed"), [(0, False), (1, True)])
@pytest.mark.parametrize("size", [4096, 10**6])
def test_limit_of_the_head_in_bytes(more: int, malformed: bool, size: int) -> None:
    """Counted are names, values, and colon, CR and LF of each field; the limit itself is allowed."""
    value = b"v" * (MAX_HEAD_BYTES - len(b"X-Big:\r\nContent-Length:0\r\n") + more)
    reader = read(OK + b"X-Big: " + value + b"\r\nContent-Length: 0\r\n\r\n", size)
    assert (reader.malformed, reader.ended) == (malformed, not malformed)


@pytest.mark.parametrize(("count", "malformed"), [(MAX_FIELDS, False), (MAX_FIELDS + 1, True)])
def test_limit_of_the_head_in_fields(count: int, malformed: bool) -> None:
    """The limit itself is allowed."""
    fields = b"".join(b"X-%d: 1\r\n" % number for number in range(count - 1))
    assert read(OK + fields + b"Content-Length: 0\r\n\r\n").malformed is malformed


def test_one_reader_reads_many_responses_however_they_are_cut() -> None:
    """Five hundred seeded responses over one connection, in random pieces, come out as they went in."""
    draw = random.Random(11)
    reader = ResponseReader(MAX_HEAD_BYTES, MAX_FIELDS)
    for number in range(500):
        body = draw.randbytes(draw.choice([0, 1, 10, 3000]))
        chunked, bodiless = draw.random() < 0.5, draw.random() < 0.2
        framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % len(body)
        head = OK + b"X-N: %d\r\n%b\r\n\r\n" % (number, framing)
        sent = (
            b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
            if chunked and body
            else body or b"0\r\n\r\n" * chunked
        )
        reader.begin(bodiless)
        received, content = b"", head + (b"" if bodiless else sent)
        while content:
            size = draw.choice([1, 2, 5, 100, 5000])
            reader.feed(content[:size])
            received, content = received + reader.take(), content[size:]
        assert (reader.ended, reader.reusable, received) == (True, True, b"" if bodiless else body), number
        assert reader.headers[0] == (b"x-n", b"%d" % number)
