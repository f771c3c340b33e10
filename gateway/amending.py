"""Asking the teacher for more than the caller asked for, and giving the caller what it asked for.

The record keeps the teacher's reply as it came; only what leaves is restored: streams event by event, each with
the chunk that ends it, documents once they are whole.
"""

from collections.abc import Callable, MutableMapping
from typing import Any, Protocol

from gateway.asgi import Send
from gateway.dialects.dialect import Amendment
from gateway.dialects.sse import blocks_of, ended_length, event_of
from gateway.headers import header
from gateway.passage import Passage, Request
from gateway.routes import NO_TASK

MAX_HELD_BYTES = 4 * 2**20  # of a document or event that has not ended; a larger one passes as it is


class Restoring(Protocol):
    """Fed with chunks as they come; what it gives back is for the caller."""

    def feed(self, chunk: bytes) -> bytes: ...

    def end(self) -> bytes: ...


class RestoredDocument:
    """Holds a reply until it is whole."""

    def __init__(self, restored: Callable[[bytes], bytes]) -> None:
        self._restored, self._held, self._passing = restored, bytearray(), False

    def feed(self, chunk: bytes) -> bytes:
        if self._passing:
            return chunk
        self._held += chunk
        if len(self._held) <= MAX_HELD_BYTES:
            return b""
        self._passing = True
        return bytes(self._held)

    def end(self) -> bytes:
        return b"" if self._passing else self._restored(bytes(self._held))


class RestoredEvents:
    """Holds no more than the event that has not ended: the others leave with the chunk that ended them."""

    def __init__(self, restored: Callable[[bytes], bytes]) -> None:
        self._restored, self._held = restored, b""

    def feed(self, chunk: bytes) -> bytes:
        stream = self._held + chunk
        ended = ended_length(stream) if len(stream) <= MAX_HELD_BYTES else len(stream)
        self._held = stream[ended:]
        return b"".join([self._event(block) for block in blocks_of(stream[:ended])])

    def end(self) -> bytes:
        return self._event(self._held)

    def _event(self, block: bytes) -> bytes:
        event = event_of(block)
        return block if event is None else event.with_data(self._restored(event.data))


def restoring(
    restored: Callable[[bytes], bytes], content_type: bytes, content_encoding: bytes
) -> Restoring | None:
    """How to restore a reply of this type; None if it came encoded, though it was asked for plain."""
    if content_encoding not in (b"", b"identity"):
        return None
    streamed = content_type.lower().startswith(b"text/event-stream")
    return RestoredEvents(restored) if streamed else RestoredDocument(restored)


def amended(passage: Passage, request: Request, send: Send) -> tuple[Request, Send]:
    """The request for the teacher and the way of its reply; both as they are where nothing more is wanted."""
    body = amended_body(passage, request)
    if body is None:
        return request, send
    fields = [field for field in request.head.upstream if field[0] != b"accept-encoding"]
    head = request.head._replace(upstream=[*fields, (b"accept-encoding", b"identity")])
    return request._replace(head=head, body=body.body), RestoringSend(send, body.restored)


def amended_body(passage: Passage, request: Request) -> Amendment | None:
    amend = passage.route.dialect.amend
    if amend is None or passage.route.name == NO_TASK or request.method != "POST":
        return None
    return None if passage.request.too_large else amend(request.body)


class RestoringSend:
    """An ASGI send that restores a successful reply. Its length is not known beforehand, so it is not told."""

    def __init__(self, send: Send, restored: Callable[[bytes], bytes]) -> None:
        self._send, self._restored = send, restored
        self._restoring: Restoring | None = None

    async def __call__(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start" and 200 <= message["status"] < 300:
            message = self._started(message)
        elif message["type"] == "http.response.body" and self._restoring is not None:
            more = message.get("more_body", False)
            content = self._restoring.feed(message.get("body", b""))
            content += b"" if more else self._restoring.end()
            if not content and more:
                return
            message = {**message, "body": content}
        await self._send(message)

    def _started(self, message: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        headers = message["headers"]
        content_type = header(headers, b"content-type") or b""
        encoding = header(headers, b"content-encoding") or b""
        self._restoring = restoring(self._restored, content_type, encoding)
        if self._restoring is None:
            return message
        return {**message, "headers": [field for field in headers if field[0] != b"content-length"]}
