"""What is refused before the teacher is asked, and reading a body within its limit."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

import orjson

from gateway.headers import RequestHead

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

BODY_SECONDS = 60.0  # for a request body that did not come with its head
_CLOSE = (b"connection", b"close")


@dataclass(frozen=True, slots=True)
class Refused:
    """A reply of the gateway itself."""

    status: int
    code: str
    sentence: str
    headers: tuple[tuple[bytes, bytes], ...] = ()


GONE = "gone"  # the caller went away while sending its body

TOO_MANY = Refused(
    503,
    "in_flight_limit",
    "The gateway already has as many requests in flight as gateway.max_in_flight allows; try again shortly.",
    ((b"retry-after", b"1"),),
)
TARGET_NOT_ASCII = Refused(
    400, "target_not_ascii", "The request target holds bytes that have to be percent-encoded."
)
UNEXPECTED = Refused(500, "gateway_error", "The gateway failed on this request; its log says why.", (_CLOSE,))
_HOST_MISSING = Refused(
    400, "host_missing", "The request has no Host header (RFC 9112 section 3.2).", (_CLOSE,)
)
_HOST_TWICE = Refused(
    400, "host_twice", "The request has several Host headers (RFC 9112 section 3.2).", (_CLOSE,)
)
_HOST_INVALID = Refused(
    400, "host_invalid", "The Host header is not a host and a port (RFC 9110 section 7.2).", (_CLOSE,)
)
_LENGTH_AMBIGUOUS = Refused(
    400,
    "length_ambiguous",
    "Content-Length stands beside Transfer-Encoding or twice: the end of the body is ambiguous.",
    (_CLOSE,),
)
_METHOD = Refused(
    405,
    "method",
    "CONNECT and TRACE are not passed on.",
    ((b"allow", b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"),),
)
_LOOP = Refused(
    508,
    "loop",
    "The request has already passed this gateway (its Via says so): the teacher's url leads back here.",
)
_BODY_SLOW = Refused(
    408, "body_slow", f"The request body did not arrive within {BODY_SECONDS:g} seconds.", (_CLOSE,)
)
_NOT_IN_HOST = b"/@?#\\ \t<>\"'`{}|^%,"


def refusal_of(method: str, http_version: str, head: RequestHead) -> Refused | None:
    """Judge what can be judged from the head alone."""
    if method in ("CONNECT", "TRACE"):
        return _METHOD
    if head.lengths > 1 or (head.lengths and head.transfer_coded):
        return _LENGTH_AMBIGUOUS
    if len(head.hosts) > 1:
        return _HOST_TWICE
    if not head.hosts:
        return _HOST_MISSING if http_version != "1.0" else None
    if head.hosts[0].translate(None, _NOT_IN_HOST) != head.hosts[0]:
        return _HOST_INVALID
    return _LOOP if head.looped else None


async def read_body(receive: Receive, limit: int) -> bytes | Refused | str:
    """The whole body, a refusal as soon as it exceeds the limit, or GONE."""
    message = await receive()
    if message["type"] == "http.disconnect":
        return GONE
    body: bytes = message.get("body", b"")
    if not message.get("more_body", False):
        return body if len(body) <= limit else _too_large(limit)
    try:
        async with asyncio.timeout(BODY_SECONDS):
            return await _read_rest(receive, body, limit)
    except TimeoutError:
        return _BODY_SLOW


async def _read_rest(receive: Receive, start: bytes, limit: int) -> bytes | Refused | str:
    chunks, size, more = [start], len(start), True
    while more:
        if size > limit:
            return _too_large(limit)
        message = await receive()
        if message["type"] == "http.disconnect":
            return GONE
        chunks.append(message.get("body", b""))
        size += len(chunks[-1])
        more = message.get("more_body", False)
    return b"".join(chunks) if size <= limit else _too_large(limit)


def _too_large(limit: int) -> Refused:
    sentence = f"The request body exceeds gateway.max_body_bytes = {limit}."
    return Refused(413, "body_too_large", sentence, (_CLOSE,))


async def send_refusal(send: Send, refused: Refused, own: list[tuple[bytes, bytes]]) -> None:
    """Answer with the refusal as JSON; `own` are this gateway's headers."""
    body = orjson.dumps({"error": refused.sentence, "code": refused.code})
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        *own,
        *refused.headers,
    ]
    await send({"type": "http.response.start", "status": refused.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
