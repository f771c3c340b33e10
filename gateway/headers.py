"""Which headers travel, in one pass over them.

What a caller's request loses on its way to the teacher: the hop-by-hop fields of RFC 9110 section 7.6.1,
fields named in Connection, Host, Expect, Forwarded and X-Forwarded-*. What it gains: Via and X-Forwarded-For,
-Host and -Proto as this gateway saw them. What a teacher's reply loses: the hop-by-hop fields, those named in
Connection, a Content-Length beside status 204, and any field with a name of REPLY_HEADERS. What it gains: the
two fields of REPLY_HEADERS. Everything else passes unchanged, in order, repeated fields repeated; HTTP/1.1
field names arrive in lower case. Trailers are dropped.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

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
_REWRITTEN = frozenset(
    {
        b"content-length",  # set again from the body, which may have come in chunks
        b"expect",
        b"forwarded",
        b"host",
        b"via",
        b"x-forwarded-for",
        b"x-forwarded-host",
        b"x-forwarded-proto",
    }
)
_KEPT_BACK_FROM_TEACHER = HOP_BY_HOP | _REWRITTEN
_KEPT_BACK_FROM_CALLER = HOP_BY_HOP | frozenset(REPLY_HEADERS)


@dataclass(frozen=True, slots=True)
class RequestHead:
    """What the gateway needs to know of a request's headers."""

    upstream: list[tuple[bytes, bytes]]  # for the teacher
    hosts: tuple[bytes, ...]
    lengths: int  # Content-Length fields
    transfer_coded: bool
    looped: bool  # this gateway stands in Via already
    attributes: Mapping[str, str]  # the headers that slice rules of the task name


def read_request_head(
    raw: RawHeaders, recorded: Collection[bytes], pseudonym: str, client: str, scheme: str
) -> RequestHead:
    """Split a request's headers; values are bytes and stay as they are."""
    upstream: list[tuple[bytes, bytes]] = []
    attributes: dict[str, str] = {}
    hosts: list[bytes] = []
    via: list[bytes] = []
    connection: list[tuple[bytes, bytes]] = []
    lengths, transfer_coded = 0, False
    for field in raw:
        name, value = field
        if name in recorded:
            attributes[name.decode()] = value.decode(errors="backslashreplace")
        if name not in _KEPT_BACK_FROM_TEACHER:
            upstream.append(field)
        elif name == b"host":
            hosts.append(value)
        elif name == b"content-length":
            lengths += 1
        elif name == b"transfer-encoding":
            transfer_coded = True
        elif name == b"via":
            via.append(value)
        elif name == b"connection":
            connection.append(field)
    if connection and (named := _named_in_connection(connection)):
        upstream = [field for field in upstream if field[0] not in named]
    ours = pseudonym.encode()
    looped = bool(via) and _stands_in_via(via, ours)
    upstream.append((b"via", b", ".join([*via, b"1.1 " + ours])))
    upstream.append((b"x-forwarded-for", client.encode()))
    upstream.append((b"x-forwarded-proto", scheme.encode()))
    if hosts:
        upstream.append((b"x-forwarded-host", hosts[0]))
    return RequestHead(upstream, tuple(hosts), lengths, transfer_coded, looped, attributes)


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
    return next((value for field, value in raw if field == name), None)


def _named_in_connection(fields: RawHeaders) -> frozenset[bytes]:
    """Fields that the peer declares to be for this connection alone."""
    options = [value for name, value in fields if name == b"connection"]
    if not options or options == [b"keep-alive"] or options == [b"close"]:
        return frozenset()
    return frozenset(option.strip().lower() for value in options for option in value.split(b","))


def _stands_in_via(via: Sequence[bytes], pseudonym: bytes) -> bool:
    return any(pseudonym in entry.split() for value in via for entry in value.split(b","))
