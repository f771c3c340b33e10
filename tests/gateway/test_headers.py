"""Splitting headers: what travels and what stays."""

import pytest

from gateway.headers import read_request_head, reply_headers

FIELDS = [(b"host", b"h"), (b"accept", b"*/*")]


def head_of(*fields: tuple[bytes, bytes], recorded: frozenset[bytes] = frozenset()):
    return read_request_head([*FIELDS, *fields], recorded, "stillgate-g0", "10.0.0.1", "http")


def test_only_the_named_headers_are_kept() -> None:
    """Of all headers only those that slice rules name become attributes, and they still travel."""
    head = head_of((b"x-area", b"north"), (b"authorization", b"k"), recorded=frozenset({b"x-area"}))
    assert head.attributes == {"x-area": "north"}
    assert (b"x-area", b"north") in head.upstream
    assert (b"authorization", b"k") in head.upstream


@pytest.mark.parametrize(
    ("via", "looped"),
    [(b"1.1 stillgate-g0", True), (b"1.0 a, 1.1 stillgate-g0 (x)", True), (b"1.1 stillgate-g01", False)],
)
def test_loop_is_seen_in_via(via: bytes, looped: bool) -> None:
    """Only this gateway's own pseudonym, as a whole word, is a loop."""
    assert head_of((b"via", via)).looped is looped


@pytest.mark.parametrize("value", ["Zoë".encode(), b"\xff\xfe", b'a, b;c="d"'])
def test_values_travel_as_bytes(value: bytes) -> None:
    """Nothing is decoded on the way: obs-text and UTF-8 survive alike."""
    assert (b"x-name", value) in head_of((b"x-name", value)).upstream


def test_recorded_value_that_is_no_utf8() -> None:
    """As an attribute of a slice it is written with escapes, so that different bytes stay different."""
    head = head_of((b"x-area", b"\xff"), (b"x-area", b"\xfe"), recorded=frozenset({b"x-area"}))
    assert head.attributes == {"x-area": "\\xfe"}


@pytest.mark.parametrize("connection", [b"close, X-One", b"x-one,x-two", b"X-ONE"])
def test_fields_named_in_connection_stay(connection: bytes) -> None:
    """What Connection names is for this hop alone, in both directions."""
    fields = [(b"connection", connection), (b"x-one", b"1"), (b"x-three", b"3")]
    assert [name for name, _ in head_of(*fields).upstream if name.startswith(b"x-o")] == []
    assert reply_headers(fields, 200) == [(b"x-three", b"3")]


def test_reply_keeps_order_and_repeats() -> None:
    """Repeated fields stay repeated and in order; ours replace those of another gateway."""
    raw = [
        (b"set-cookie", b"a"),
        (b"x-stillgate-exchange", b"g9-1"),
        (b"set-cookie", b"b"),
        (b"upgrade", b"h2c"),
    ]
    assert reply_headers(raw, 200) == [(b"set-cookie", b"a"), (b"set-cookie", b"b")]


@pytest.mark.parametrize(("status", "kept"), [(200, 1), (304, 1), (204, 0)])
def test_content_length_by_status(status: int, kept: int) -> None:
    """Content-Length stays, but for 204, where it has no meaning."""
    assert len(reply_headers([(b"content-length", b"5")], status)) == kept
