"""One connection of a caller: the guard in front of the application.

It reads a whole head and holds it to `gateway.http_head`, reads the body within its limits, and only when the
application has ended is the next request looked at: answers leave in order. Nothing here starts a timer: the
server looks at every connection a few times a second.
"""

import asyncio
import logging
from enum import Enum, auto
from math import inf
from typing import TYPE_CHECKING

from gateway.asgi import ALONE, AUTHORITY, CALLER, REFUSED, TARGET, Message, Scope
from gateway.guard import CLOSE, UNEXPECTED, Refused, refusal_body, refusal_fields
from gateway.http_head import CHUNKED, HttpHead, read_head, unfinished_refusal
from gateway.request_body import ChunkedBody, SizedBody
from gateway.response import Response

if TYPE_CHECKING:
    from gateway.server import Server

HELD_BYTES = 64 * 1024  # of requests that were sent before the last one was answered; more are not read
LINGER_SECONDS = 2.0  # for a refused caller to read why, before what it goes on sending resets the connection
CLOSING_SECONDS = 10.0  # for a caller to take the last bytes of its response
OVERFLOW_CONNECTIONS = 100  # above the limit, which are told so; more are closed without a word
_BLANK_LINES = 2  # empty lines before a request line that are forgiven (RFC 9112 section 2.2)

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_ASGI = {"version": "3.0", "spec_version": "2.3"}

_BODY_SLOW = Refused(408, "body_slow", "The body came slower than gateway.min_body_bytes_per_second.", CLOSE)
_HEAD_SLOW = Refused(408, "head_slow", "The head did not arrive within gateway.head_seconds.", CLOSE)
_STOPPING = Refused(503, "stopping", "The gateway is stopping.", CLOSE)
_FULL = Refused(
    503,
    "connections",
    "The gateway already has as many connections as gateway.max_connections allows.",
    ((b"retry-after", b"1"), *CLOSE),
)

log = logging.getLogger(__name__)


class Phase(Enum):
    HEAD = auto()  # waiting for a head, or for the rest of it
    BODY = auto()  # the application runs, its request has not come whole
    ANSWER = auto()  # the application runs and has all it can ask for
    LINGER = auto()  # what comes is thrown away
    CLOSED = auto()  # no longer read; what was written may still be on its way


class Connection(asyncio.Protocol):
    """What one caller sends and gets."""

    __slots__ = (
        "_begun",
        "_blank_lines",
        "_body",
        "_body_since",
        "_client",
        "_close_after",
        "_content",
        "_deadline",
        "_drained",
        "_expects",
        "_head",
        "_head_begun",
        "_held",
        "_phase",
        "_received",
        "_response",
        "_scheme",
        "_seen",
        "_server",
        "_stalled_at",
        "_task",
        "_transport",
        "_unsent",
        "_waiting",
        "gone",
        "trusted",
    )

    def __init__(self, server: "Server") -> None:
        self._server = server
        self._phase = Phase.HEAD
        self._held, self._seen = (
            b"",
            0,
        )  # what has come and was not read; bytes of it that hold no end of a head
        self._blank_lines, self._head_begun = _BLANK_LINES, False
        self._deadline = inf
        self._task: asyncio.Task[None] | None = None
        self._body: SizedBody | ChunkedBody | None = None
        self._content = b""
        self._head = b""  # of the response, made but not written
        self._response = Response("", modern=True, close=True)
        self._waiting: asyncio.Future[None] | None = None  # while the application waits for the body
        self._drained: asyncio.Future[None] | None = None  # while the caller does not take what is written
        self._stalled_at, self._unsent = inf, 0
        self._close_after = False  # the response that is under way is the last one
        self.gone = self.trusted = False

    # --- what asyncio says --------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]  # that of a stream
        peer = transport.get_extra_info("peername")
        self._client = (str(peer[0]), int(peer[1])) if peer else None
        self._scheme = "https" if transport.get_extra_info("sslcontext") else "http"
        self.trusted = self._client is not None and self._server.trusts(self._client[0])
        self._deadline = self._server.now + self._server.limits.first_byte_seconds
        excess = self._server.admit(self)
        if excess > OVERFLOW_CONNECTIONS:
            self._transport.abort()
        elif excess > 0:
            self._refuse(_FULL)

    def connection_lost(self, error: Exception | None) -> None:
        self._server.forget(self)
        self.gone = True
        self._phase = Phase.CLOSED
        self.resume_writing()
        if self._task is not None and self._begun and not self._response.complete:
            self._task.cancel()

    def data_received(self, data: bytes) -> None:
        if self._phase is Phase.BODY:
            self._take_body(data)
        elif self._phase is Phase.HEAD:
            self._held = self._held + data if self._held else data
            self._next_request()
        elif self._phase is Phase.ANSWER:
            self._held += data
            if len(self._held) > HELD_BYTES:
                self._transport.pause_reading()

    def pause_writing(self) -> None:
        self._drained = asyncio.get_running_loop().create_future()
        self._stalled_at = self._server.now + self._server.limits.send_seconds
        self._unsent = self._transport.get_write_buffer_size()

    def resume_writing(self) -> None:
        self._stalled_at = inf
        if self._drained is not None:
            if not self._drained.done():
                self._drained.set_result(None)
            self._drained = None

    # --- what the server says -----------------------------------------------------------------------------

    @property
    def busy(self) -> bool:
        return self._task is not None

    def look(self, now: float) -> None:
        """See whether a deadline has passed."""
        if now >= self._stalled_at:
            self._look_at_stall(now)
        if now < self._deadline:
            return
        self._deadline = inf
        if self._phase is Phase.BODY:
            self._look_at_body(now)
        elif self._phase is Phase.HEAD and self._held:
            self._refuse(_HEAD_SLOW)
        elif self._phase is Phase.CLOSED:
            self._transport.abort()
        else:
            self._close()

    def drain(self) -> None:
        """Take no further request."""
        self._close_after = True
        if self._phase is Phase.HEAD:
            self._close()

    def cut(self) -> None:
        """End the request that is under way, whatever its caller still waits for."""
        if self._task is not None:
            self._task.cancel()
        else:
            self._transport.abort()

    # --- reading --------------------------------------------------------------------------------------------

    def _next_request(self) -> None:
        """Start the request whose head has come whole, if one has."""
        while self._blank_lines and self._held.startswith(b"\r\n"):
            self._held, self._seen = self._held[2:], 0
            self._blank_lines -= 1
        held, limits = self._held, self._server.limits.head
        end = held.find(b"\r\n\r\n", max(self._seen - 3, 0))
        if end < 0:
            return self._await_head(held)
        head = read_head(held[: end + 2], limits)
        if isinstance(head, Refused):
            return self._refuse(head)
        self._held, self._seen, self._blank_lines = held[end + 4 :], 0, _BLANK_LINES
        return self._start(head)

    def _await_head(self, held: bytes) -> None:
        if not self._head_begun:
            self._head_begun = True
            self._deadline = self._server.now + self._server.limits.head_seconds
        refused = unfinished_refusal(held, self._seen, self._server.limits.head)
        self._seen = len(held)
        if refused is not None:
            self._refuse(refused)

    def _start(self, head: HttpHead) -> None:
        path, _, query = head.target.partition(b"?")
        scope: Scope = {
            "type": "http",
            "asgi": _ASGI,
            "http_version": "1.1" if head.modern else "1.0",
            "method": head.method,
            "scheme": self._scheme,
            "raw_path": path,
            "query_string": query,
            "headers": head.fields,
            "client": self._client,
            TARGET: head.target,
            AUTHORITY: head.authority,
            CALLER: self,
        }
        self._close_after |= not head.keep_alive
        self._response = Response(head.method, head.modern, self._close_after)
        self._content, self._body, self._begun = b"", None, False
        self._deadline = inf
        if 0 <= head.length <= min(len(self._held), self._server.limits.body_bytes):  # it has come whole
            self._content, self._held = self._held[: head.length], self._held[head.length :]
            self._phase = Phase.ANSWER
        else:
            self._expect_body(head)
        self._task = asyncio.get_running_loop().create_task(self._run(scope))

    def _expect_body(self, head: HttpHead) -> None:
        limits = self._server.limits
        if head.length == CHUNKED:
            self._body = ChunkedBody(
                limits.body_bytes, limits.chunk_extension_bytes, limits.head.fields_bytes
            )
        else:
            self._body = SizedBody(head.length, limits.body_bytes)
        self._phase = Phase.BODY
        self._received, self._body_since = 0, self._server.now
        self._deadline = self._body_since + limits.body_grace_seconds
        self._expects = head.expects
        held, self._held = self._held, b""
        if held:
            self._take_body(held)

    def _take_body(self, data: bytes) -> None:
        body = self._body
        if body is None or body.refused is not None:
            return
        self._received += len(data)
        body.feed(data)
        if body.refused is not None:
            self._wake()
        elif body.complete:
            self._phase, self._deadline = Phase.ANSWER, inf
            self._content, self._held = body.content(), body.rest
            self._wake()

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    # --- deadlines ------------------------------------------------------------------------------------------

    def _look_at_body(self, now: float) -> None:
        limits = self._server.limits
        due = (now - self._body_since - limits.body_grace_seconds) * limits.body_bytes_per_second
        if self._body is None or self._body.refused is not None:
            return
        if self._received >= due:
            self._deadline = now  # look again at the next tick
        else:
            self._body.refused = _BODY_SLOW
            self._wake()

    def _look_at_stall(self, now: float) -> None:
        """A caller that takes nothing of its response is cut off; one that takes it slowly is not."""
        unsent = self._transport.get_write_buffer_size()
        if unsent >= self._unsent:
            self._transport.abort()
        self._stalled_at, self._unsent = now + self._server.limits.send_seconds, unsent

    # --- the application --------------------------------------------------------------------------------------

    async def _run(self, scope: Scope) -> None:
        self._begun = True
        try:
            await self._server.app(scope, self.receive, self.send)
        except asyncio.CancelledError:
            pass  # cancelled by nobody but this connection
        except Exception:
            log.exception("The application failed. action=application_failed")
        self._task = None
        if not self.gone:
            self._ended()

    async def receive(self) -> Message:
        """The whole body, or why it cannot be had."""
        if self.gone:
            raise asyncio.CancelledError
        if self._phase is Phase.BODY:
            await self._body_or_refusal()
        if self._body is not None and self._body.refused is not None:
            return {"type": REFUSED, "refused": self._body.refused}
        return {"type": "http.request", "body": self._content, "more_body": False}

    async def _body_or_refusal(self) -> None:
        if self._body is None or self._body.refused is not None:
            return
        if self._expects:
            self._transport.write(_CONTINUE)
        self._waiting = asyncio.get_running_loop().create_future()
        await self._waiting
        self._waiting = None

    async def send(self, message: Message) -> None:
        """Write one part of the response, when the caller has taken enough of what was written before.

        What is sent has to be valid already: `gateway.response` says how. Raises ValueError on a body that is
        longer or shorter than its Content-Length.
        """
        if self._drained is not None:
            await self._drained
        if self.gone:
            return
        if message["type"] == "http.response.start":
            self._response.close |= self._close_after or self._phase is Phase.BODY
            self._head = self._response.head(message["status"], message["headers"], self._server.date_line)
            if message.get(ALONE):
                self._write_head()
        else:
            parts = self._response.body(message.get("body", b""), message.get("more_body", False))
            if self._head:
                head, self._head = self._head, b""
                self._transport.write(b"".join((head, *parts)))
            elif parts:
                self._transport.writelines(parts)

    def _write_head(self) -> None:
        """Else the head leaves with the first bytes of its body."""
        head, self._head = self._head, b""
        if head and not self.gone:
            self._transport.write(head)

    # --- endings ----------------------------------------------------------------------------------------------

    def _ended(self) -> None:
        """The application has done with its request."""
        response = self._response
        self._write_head()
        if not response.started:
            self._refuse(_STOPPING if self._close_after else UNEXPECTED)
        elif not response.complete:
            self._cut_response()
        elif self._phase is Phase.BODY:
            self._linger()
        elif response.close or self._close_after:
            self._close()
        else:
            self._phase, self._head_begun = Phase.HEAD, False
            self._deadline = self._server.now + self._server.limits.keep_alive_seconds
            self._transport.resume_reading()
            if self._held:
                self._next_request()

    def _cut_response(self) -> None:
        """Leave a response unfinished, so that nobody takes it for whole: where no length says so, a reset does."""
        if self._response.ends_with_connection:
            self._transport.abort()
        else:
            self._close()

    def _refuse(self, refused: Refused) -> None:
        """Answer a caller whose request never reached the application, and have done with the connection."""
        self._server.count_refused(refused.code)
        body = refusal_body(refused)
        response = Response("", modern=True, close=True)
        self._transport.write(
            response.head(refused.status, refusal_fields(refused, body), self._server.date_line) + body
        )
        self._linger()

    def _linger(self) -> None:
        self._phase, self._held = Phase.LINGER, b""
        self._deadline = self._server.now + LINGER_SECONDS
        self._transport.resume_reading()
        if self._transport.can_write_eof():
            self._transport.write_eof()

    def _close(self) -> None:
        self._phase, self._held = Phase.CLOSED, b""
        self._deadline = self._server.now + CLOSING_SECONDS
        self._transport.close()
