"""Which headers travel, in one pass over them.

What a caller's request loses on its way to the teacher: the hop-by-hop fields of RFC 9110 section 7.6.1,
fields named in Connection, Host, Expect, Forwarded and X-Forwarded-*. What it gains: Via and X-Forwarded-For,
-Host and -Proto as this gateway saw them; a trusted proxy's own are kept and added to. What a teacher's reply
loses: the hop-by-hop fields, those named in Connection, a Content-Length beside status 204, and any field with a
name of REPLY_HEADERS. What it gains: the two fields of REPLY_HEADERS. Everything else passes unchanged, in order,
repeated fields repeated; HTTP/1.1 field names arrive in lower case. Trailers are dropped.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from gateway.asgi import AUTHORITY, CALLER, Fields, Scope

EXCHANGE_HEADER = b"x-stillgate-exchange"  # the public name of the exchange; absent while nothing is recorded
SERVED_BY_HEADER = b"x-stillgate-served-by"  # teacher, student or gateway
REPLY_HEADERS = (EXCHANGE_HEADER, SERVED_BY_HEADER)

RawHeaders = Sequence[tuple[bytes, bytes]]

HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
_REPLACED = frozenset(
    {b"content-length", b"host"}
)  # the body may have come in chunks; the host is the teacher's
_REWRITTEN = frozenset(
    {
        b"expect",
        b"forwarded",
        b"max-forwards",
        b"via",
        b"x-forwarded-for",
        b"x-forwarded-host",
        b"x-forwarded-proto",
    }
)
_COMMON_OPTIONS = ([b"keep-alive"], [b"close"])  # they name no field
_KEPT_BACK_FROM_TEACHER = HOP_BY_HOP | _REPLACED | _REWRITTEN
_KEPT_BACK_FROM_CALLER = HOP_BY_HOP | frozenset(REPLY_HEADERS)


class RequestHead(NamedTuple):
    """What the gateway needs to know of a request's headers."""

    upstream: list[tuple[bytes, bytes]]  # for the teacher
    expects: bytes  # the value of Expect
    forwards: int | None  # how many more intermediaries an OPTIONS request may pass (RFC 9110 section 7.6.2)
    looped: bool  # this gateway stands in Via already
    attributes: Mapping[str, str]  # the headers that slice rules of the task name


def read_request_head(scope: Scope, recorded: Collection[bytes], pseudonym: bytes) -> RequestHead:
    """Split a request's headers; values are bytes and stay as they are."""
    upstream: Fields = []
    attributes: dict[str, str] = {}
    rewritten: dict[bytes, list[bytes]] = {}
    connection: Fields = []
    for field in scope["headers"]:
        name, value = field
        if name in recorded:
            attributes[name.decode()] = value.decode(errors="backslashreplace")
        if name not in _KEPT_BACK_FROM_TEACHER:
            upstream.append(field)
        elif name in _REWRITTEN:
            rewritten.setdefault(name, []).append(value)
        elif name == b"connection":
            connection.append(field)
    if connection and (named := _named_in_connection(connection)):
        upstream = [field for field in upstream if field[0] not in named]
    via = rewritten.get(b"via")
    upstream.append((b"via", b"1.1 " + pseudonym if via is None else b", ".join([*via, b"1.1 " + pseudonym])))
    upstream += _told(scope, rewritten) if rewritten and scope[CALLER].trusted else _seen(scope)
    if not rewritten:
        return RequestHead(upstream, b"", None, False, attributes)
    return RequestHead(
        upstream,
        b", ".join(rewritten.get(b"expect", ())),
        _forwards(scope["method"], rewritten.get(b"max-forwards", []), upstream),
        via is not None and _stands_in_via(via, pseudonym),
        attributes,
    )


def _seen(scope: Scope) -> Fields:
    """Who asked this gateway, and how."""
    fields = [
        (b"x-forwarded-for", scope["client"][0].encode() if scope["client"] else b"unknown"),
        (b"x-forwarded-proto", scope["scheme"].encode()),
    ]
    if scope[AUTHORITY]:
        fields.append((b"x-forwarded-host", scope[AUTHORITY]))
    return fields


def _told(scope: Scope, told: Mapping[bytes, list[bytes]]) -> Fields:
    """The same behind a trusted proxy: what it told stays, and it is added itself."""
    seen = dict(_seen(scope))
    client, scheme = seen[b"x-forwarded-for"], seen[b"x-forwarded-proto"]
    fields = [(name, b", ".join(told.get(name, (value,)))) for name, value in seen.items()]
    fields[0] = (b"x-forwarded-for", b", ".join([*told.get(b"x-forwarded-for", ()), client]))
    if b"forwarded" in told:
        node = b'"[%b]"' % client if b":" in client else client  # RFC 7239 section 6
        fields.append((b"forwarded", b", ".join([*told[b"forwarded"], b"for=%b;proto=%b" % (node, scheme)])))
    return fields


def _forwards(method: str, values: list[bytes], upstream: Fields) -> int | None:
    """Count an OPTIONS request's Max-Forwards down; it passes with every other method."""
    counted = method == "OPTIONS" and len(values) == 1 and values[0].isdigit() and len(values[0]) < 10
    if not counted:
        upstream += [(b"max-forwards", value) for value in values]
        return None
    upstream.append((b"max-forwards", b"%d" % (int(values[0]) - 1)))
    return int(values[0])


def reply_headers(fields: RawHeaders, status: int) -> list[tuple[bytes, bytes]]:
    """The teacher's fields that its caller gets; names are in lower case already."""
    kept_back = _KEPT_BACK_FROM_CALLER
    if named := _named_in_connection(fields):
        kept_back |= named
    if status == 204:
        kept_back |= {b"content-length"}
    return [field for field in fields if field[0] not in kept_back]


def header(raw: RawHeaders, name: bytes) -> bytes | None:
    """The first value of a field given in lower case."""
    for field, value in raw:
        if field == name:
            return value
    return None


def _named_in_connection(fields: RawHeaders) -> frozenset[bytes]:
    """Fields that the peer declares to be for this connection alone."""
    options = [value for name, value in fields if name == b"connection"]
    if not options or options in _COMMON_OPTIONS:
        return frozenset()
    return frozenset(option.strip().lower() for value in options for option in value.split(b","))


def _stands_in_via(via: Sequence[bytes], pseudonym: bytes) -> bool:
    return any(pseudonym in entry.split() for value in via for entry in value.split(b","))
