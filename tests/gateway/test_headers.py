"""Splitting headers: what travels and what stays."""

from dataclasses import dataclass

import pytest

from gateway.asgi import AUTHORITY, CALLER
from gateway.headers import RequestHead, read_request_head, reply_headers

FIELDS = [(b"host", b"h"), (b"accept", b"*/*")]
NAMED = frozenset({b"x-area"})


@dataclass
class Peer:
    trusted: bool
    gone: bool = False


def head_of(
    *fields: tuple[bytes, bytes], trusted: bool = False, method: str = "GET", client: str = "10.0.0.1"
) -> RequestHead:
    scope = {
        "headers": [*FIELDS, *fields],
        "method": method,
        "client": (client, 4711),
        "scheme": "http",
        AUTHORITY: b"h",
        CALLER: Peer(trusted),
    }
    return read_request_head(scope, NAMED, b"stillgate-g0")


def test_only_the_named_headers_are_kept() -> None:
    """Of all headers only those that slice rules name become attributes, and they still travel."""
    head = head_of((b"x-area", b"north"), (b"authorization", b"k"))
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
    head = head_of((b"x-area", b"\xff"), (b"x-area", b"\xfe"))
    assert head.attributes == {"x-area": "\\xfe"}


TOLD = [
    (b"x-forwarded-for", b"1.1.1.1"),
    (b"x-forwarded-for", b"2.2.2.2"),
    (b"x-forwarded-proto", b"https"),
    (b"x-forwarded-host", b"public.example"),
    (b"forwarded", b"for=1.1.1.1"),
]


def test_what_callers_say_of_themselves_is_replaced() -> None:
    """Of a caller that is no trusted proxy nothing remains in Forwarded and X-Forwarded-*."""
    assert forwarded(head_of(*TOLD)) == {
        "x-forwarded-for": "10.0.0.1",
        "x-forwarded-proto": "http",
        "x-forwarded-host": "h",
    }


@pytest.mark.parametrize(
    ("client", "node"), [("10.0.0.1", "10.0.0.1"), ("2001:db8::1", '"[2001:db8::1]"')], ids=["IPv4", "IPv6"]
)
def test_a_trusted_proxy_is_added_to(client: str, node: str) -> None:
    """What a trusted proxy told stays, and it is named itself."""
    assert forwarded(head_of(*TOLD, trusted=True, client=client)) == {
        "x-forwarded-for": f"1.1.1.1, 2.2.2.2, {client}",
        "x-forwarded-proto": "https",
        "x-forwarded-host": "public.example",
        "forwarded": f"for=1.1.1.1, for={node};proto=http",
    }


def forwarded(head: RequestHead) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in head.upstream if b"forwarded" in name}


@pytest.mark.parametrize(
    ("method", "value", "passed", "left"),
    [
        ("OPTIONS", b"3", b"2", 3),
        ("OPTIONS", b"x", b"x", None),
        ("GET", b"3", b"3", None),
    ],
)
def test_max_forwards_is_counted_down(method: str, value: bytes, passed: bytes, left: int | None) -> None:
    """Each intermediary takes one off an OPTIONS request (RFC 9110 section 7.6.2)."""
    head = head_of((b"max-forwards", value), method=method)
    assert (dict(head.upstream)[b"max-forwards"], head.forwards) == (passed, left)


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
