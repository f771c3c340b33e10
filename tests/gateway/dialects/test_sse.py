"""Server-sent events, line ends and all."""

import pytest

from gateway.dialects.sse import blocks_of, ended_length, events_of


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_fields(end: bytes) -> None:
    """Data of several lines is joined, one space after the colon is dropped, comments and other fields are not data."""
    lines = [
        b": hello",
        b"",
        b"event: e",
        b"data: a",
        b"data:b",
        b"data",
        b"id: 7",
        b"retry: 1",
        b"",
        b"data:  c",
    ]
    found = [(event.name, event.data) for event in events_of(end.join(lines))]
    assert found == [(b"e", b"a\nb\n"), (b"", b" c")]


def test_byte_order_mark() -> None:
    """A mark at the very beginning is no part of the first field's name."""
    assert [event.data for event in events_of(b"\xef\xbb\xbfdata: x\n\n")] == [b"x"]


@pytest.mark.parametrize(
    ("stream", "ended"),
    [
        (b"", 0),
        (b"data: x", 0),
        (b"data: x\r\n", 0),
        (b"data: x\r\n\r\n", 11),
        (b"data: x\n\ndata: y\n", 9),
        (b"data: x\n\r\ndata", 10),
    ],
)
def test_ended_length(stream: bytes, ended: int) -> None:
    """A carriage return with its line feed is one end of line; two ends of line end a block."""
    assert ended_length(stream) == ended
    assert b"".join(blocks_of(stream)) == stream


def test_exchanged_data() -> None:
    """Other data leaves every other byte of the block; data on several lines is left alone."""
    first, second = events_of(b"id: 1\r\ndata: x\r\n\r\ndata: a\ndata: b\n\n")
    assert first.with_data(b"yy") == b"id: 1\r\ndata: yy\r\n\r\n"
    assert second.with_data(b"yy") == second.block
