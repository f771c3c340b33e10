"""What is refused before the teacher is asked, and how that is said."""

from dataclasses import dataclass

import orjson

from gateway.asgi import Fields, Receive, Send
from gateway.headers import RequestHead

CLOSE = ((b"connection", b"close"),)


@dataclass(frozen=True, slots=True)
class Refused:
    """A reply of the gateway itself."""

    status: int
    code: str
    sentence: str
    headers: tuple[tuple[bytes, bytes], ...] = ()


TOO_MANY = Refused(
    503,
    "in_flight_limit",
    "The gateway already has as many requests in flight as gateway.max_in_flight allows; try again shortly.",
    ((b"retry-after", b"1"),),
)
UNEXPECTED = Refused(500, "gateway_error", "The gateway failed on this request; its log says why.", CLOSE)
_METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
_METHOD = Refused(
    405, "method", "CONNECT and TRACE are not passed on.", ((b"allow", _METHODS.encode()), *CLOSE)
)
_EXPECTATION = Refused(417, "expectation", "100-continue is the only expectation that can be met.", CLOSE)
_LOOP = Refused(
    508,
    "loop",
    "The request has already passed this gateway (its Via says so): the teacher's url leads back here.",
)
_LAST_STOP = Refused(
    200, "max_forwards", "Max-Forwards ends at this gateway.", ((b"allow", _METHODS.encode()),)
)


def too_large(limit: int) -> Refused:
    sentence = f"The request body exceeds gateway.max_body_bytes = {limit}."
    return Refused(413, "body_too_large", sentence, CLOSE)


def refusal_of(method: str, head: RequestHead) -> Refused | None:
    """Judge a valid request by what its head asks for."""
    if method in ("CONNECT", "TRACE"):
        return _METHOD
    if head.expects and head.expects.lower() != b"100-continue":
        return _EXPECTATION
    if method == "OPTIONS" and head.forwards == 0:
        return _LAST_STOP
    return _LOOP if head.looped else None


async def read_body(receive: Receive) -> bytes | Refused:
    """The whole body, or why it cannot be had; no suspension where it came together with its head."""
    message = await receive()
    refused: Refused | None = message.get("refused")
    if refused is not None:
        return refused
    body: bytes = message["body"]
    return body


async def send_refusal(send: Send, refused: Refused, own: Fields) -> None:
    """Answer with the refusal as JSON; `own` are this gateway's headers."""
    body = refusal_body(refused)
    fields = [*refusal_fields(refused, body), *own]
    await send({"type": "http.response.start", "status": refused.status, "headers": fields})
    await send({"type": "http.response.body", "body": body})


def refusal_body(refused: Refused) -> bytes:
    return orjson.dumps({"error": refused.sentence, "code": refused.code})


def refusal_fields(refused: Refused, body: bytes) -> Fields:
    return [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        *refused.headers,
    ]
