"""Reading heads and bodies without a socket: two parsers that are not ours have to agree with what is accepted."""

import h11
import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.guard import Refused
from gateway.http_head import HeadLimits, HttpHead, read_head, unfinished_refusal
from gateway.request_body import ChunkedBody
from tests.gateway.raw_cases import CASES

LIMITS = HeadLimits(line_bytes=8192, fields_bytes=32768, fields=100)
PIECES = st.sampled_from(
    [
        *(
            b"Host",
            b"Content-Length",
            b"Transfer-Encoding",
            b"Connection",
            b"chunked",
            b"2",
            b"a",
            b":",
            b": ",
        ),
        *(b" ", b"\t", b"\r", b"\n", b"\r\n", b"\x00", b"\x0b", b"\x7f", b"\xff", b",", b";", b'"'),
        *(b"GET ", b"/x", b" HTTP/1.1"),
    ]
)
HEADS = st.one_of(
    st.lists(PIECES, max_size=12).map(
        lambda pieces: b"GET /x HTTP/1.1\r\nHost: a\r\n" + b"".join(pieces) + b"\r\n"
    ),
    st.lists(PIECES, max_size=16).map(b"".join),
    st.sampled_from([case.sent.partition(b"\r\n\r\n")[0] + b"\r\n" for case in CASES]),
)


class Llhttp:
    """What llhttp, the parser of Node.js, reads."""

    def __init__(self) -> None:
        self.fields: list[tuple[bytes, bytes]] = []
        self.url = b""
        self.complete = False

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append(
            (name.lower(), value.rstrip(b" \t"))
        )  # it leaves what is no part of a value: RFC 9110, 5.5

    def on_headers_complete(self) -> None:
        self.complete = True


@given(HEADS)
def test_accepted_heads_read_the_same_everywhere(content: bytes) -> None:
    """Whatever is accepted here is accepted by h11 too, with the same fields; it never sees more or fewer."""
    head = read_head(content, LIMITS)
    if isinstance(head, Refused):
        return
    if not any(name == b"host" for name, _ in head.fields):
        content = content.replace(b"HTTP/1.0\r\n", b"HTTP/1.0\r\nHost: a\r\n", 1)
    parser = h11.Connection(h11.SERVER, max_incomplete_event_size=2**20)
    parser.receive_data(content + b"\r\n")
    event = parser.next_event()
    assert isinstance(event, h11.Request)
    assert event.method.decode() == head.method
    ours = [(name, value) for name, value in head.fields if name != b"host"]
    theirs = [(name, value) for name, value in event.headers if name != b"host"]
    assert [(n, v.lower() if n == b"transfer-encoding" else v) for n, v in ours] == theirs or head.length == 0


@given(HEADS)
def test_accepted_heads_read_the_same_in_llhttp(content: bytes) -> None:
    """And by llhttp, whose list of methods is its own."""
    head = read_head(content, LIMITS)
    if isinstance(head, Refused) or head.method in ("VERSION-CONTROL", "CONNECT"):
        return
    seen = Llhttp()
    httptools.HttpRequestParser(seen).feed_data(content + b"\r\n")
    assert seen.complete
    assert seen.fields == head.fields


@given(st.sampled_from([case for case in CASES if case.seen]), st.data())
def test_no_beginning_of_a_good_head_is_refused(case, data: st.DataObject) -> None:
    """However a head is cut by the network, nothing is said before its end has come."""
    content = case.sent.lstrip(b"\r\n")
    content = content[: content.find(b"\r\n\r\n") + 2]
    seen = 0
    while seen < len(content):
        end = data.draw(st.integers(seen + 1, len(content)))
        assert unfinished_refusal(content[:end], seen, LIMITS) is None
        seen = end
    assert isinstance(read_head(content, LIMITS), HttpHead)


def chunked(content: bytes, cuts: list[int]) -> ChunkedBody:
    body = ChunkedBody(limit=1000, extension_bytes=50, trailer_bytes=100)
    for start, end in zip([0, *cuts], [*cuts, len(content)], strict=True):
        if not body.complete and body.refused is None:
            body.feed(content[start:end])
        elif body.complete:
            body.rest += content[start:end]
    return body


CHUNKS = [
    b"2\r\n{}\r\n0\r\n\r\nGET",
    b"2;a\r\n\r\n\r\n3\r\nabc\r\n0;b=c\r\nX: 1\r\nY:2\r\n\r\n",
    b"0\r\n\r\n",
    b"2\r\n{}}\r\n0\r\n\r\n",
    b"2\r\n{}\r\n0\r\nX : 1\r\n\r\n",
    b"3e9\r\n",
    b"2\n{}\r\n",
]


@given(st.sampled_from(CHUNKS), st.data())
def test_chunks_read_the_same_however_they_are_cut(content: bytes, data: st.DataObject) -> None:
    """Where the network cuts a chunked body changes neither what is read of it nor what is refused."""
    cuts = sorted(data.draw(st.lists(st.integers(0, len(content)), max_size=8)))
    whole, cut = chunked(content, []), chunked(content, cuts)
    assert (cut.complete, cut.refused) == (whole.complete, whole.refused)
    if whole.complete:
        assert (cut.content(), cut.rest) == (whole.content(), whole.rest)


@pytest.mark.parametrize(("bytes_above", "complete"), [(0, True), (1, False)])
def test_trailer_limit(bytes_above: int, complete: bool) -> None:
    """Trailer fields may have as many bytes as header fields."""
    trailer = b"X: " + b"v" * (95 + bytes_above) + b"\r\n"
    assert chunked(b"0\r\n" + trailer + b"\r\n", []).complete is complete
