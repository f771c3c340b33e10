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
    assert ("x-area", "north") in head.upstream
    assert ("authorization", "k") in head.upstream


@pytest.mark.parametrize(
    ("via", "looped"),
    [(b"1.1 stillgate-g0", True), (b"1.0 a, 1.1 stillgate-g0 (x)", True), (b"1.1 stillgate-g01", False)],
)
def test_loop_is_seen_in_via(via: bytes, looped: bool) -> None:
    """Only this gateway's own pseudonym, as a whole word, is a loop."""
    assert head_of((b"via", via)).looped is looped


def test_value_that_is_no_utf8_is_an_error() -> None:
    """Bytes that cannot be passed on unchanged are not passed on at all."""
    with pytest.raises(UnicodeDecodeError):
        head_of((b"x-bytes", b"\xff"))


def test_utf8_value_travels() -> None:
    """A value in UTF-8 survives."""
    assert ("x-name", "Zoë") in head_of((b"x-name", "Zoë".encode())).upstream


@pytest.mark.parametrize("connection", [b"close, X-One", b"x-one,x-two", b"X-ONE"])
def test_fields_named_in_connection_stay(connection: bytes) -> None:
    """What Connection names is for this hop alone, in both directions."""
    fields = [(b"connection", connection), (b"x-one", b"1"), (b"x-three", b"3")]
    assert [name for name, _ in head_of(*fields).upstream if name.startswith("x-o")] == []
    assert reply_headers(fields, 200) == [(b"x-three", b"3")]


@pytest.mark.parametrize(
    "field", [(b"content-length ", b"1"), (b"x\n", b"1"), (b"x", b"a\x00"), (b"x", b"a\rb")]
)
def test_invalid_reply_field(field: tuple[bytes, bytes]) -> None:
    """A name or value that is not valid HTTP makes the whole reply invalid."""
    assert reply_headers([field], 200) is None


def test_reply_keeps_order_and_repeats() -> None:
    """Repeated fields stay repeated and in order; ours replace those of another gateway."""
    raw = [
        (b"Set-Cookie", b"a"),
        (b"X-Stillgate-Exchange", b"g9-1"),
        (b"Set-Cookie", b"b"),
        (b"Upgrade", b"h2c"),
    ]
    assert reply_headers(raw, 200) == [(b"set-cookie", b"a"), (b"set-cookie", b"b")]


@pytest.mark.parametrize(("status", "kept"), [(200, 1), (304, 1), (204, 0)])
def test_content_length_by_status(status: int, kept: int) -> None:
    """Content-Length stays, but for 204, where it has no meaning."""
    assert len(reply_headers([(b"Content-Length", b"5")], status) or []) == kept
