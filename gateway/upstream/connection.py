"""One connection to the teacher: writes a request, reads its response, with back-pressure both ways."""

import asyncio
import math
import select
from collections.abc import Callable
from typing import Any

from gateway.upstream.failures import UpstreamOutcome
from gateway.upstream.reader import ResponseReader
from gateway.upstream.settings import Settings

ONE_WRITE_BYTES = 64 * 1024  # a larger request body is written in pieces of this size
BUSY_SECONDS = 0.1  # between two requests: no server's idle timeout is as short
HIGH_WATER_BYTES = 256 * 1024  # of a response body that its caller has not taken: reading pauses


class Connection(asyncio.Protocol):
    """In use by one coroutine at a time. `deadline` is kept here and looked at by the pool."""

    __slots__ = (
        "_busy",
        "_loop",
        "_lost",
        "_on_idle_lost",
        "_paused",
        "_poll",
        "_reused",
        "_settings",
        "_transport",
        "_waiter",
        "_writable",
        "deadline",
        "idle_since",
        "last_moment",
        "problem",
        "reader",
        "used",
        "written",
    )

    def __init__(self, settings: Settings, on_idle_lost: Callable[["Connection"], None]) -> None:
        self._settings, self._on_idle_lost = settings, on_idle_lost
        self._loop = asyncio.get_running_loop()
        self._transport: Any = None
        self._waiter: asyncio.Future[None] | None = None
        self._busy = self._lost = self._paused = False
        self._writable = True
        self.reader = ResponseReader(settings.max_head_bytes, settings.max_fields)
        self.problem: UpstreamOutcome | None = None
        self._reused = False  # its peer did not close it after its first response
        self.used = False  # it has carried a request before the one that it carries now
        self.written = False  # the request that it carries now has begun to leave
        self.idle_since = 0.0
        self.deadline = self.last_moment = math.inf  # seconds of the loop's clock

    # --- what the pool and the asking side do --------------------------------------------------------------

    async def ask(self, head: bytes, body: bytes, bodiless: bool) -> UpstreamOutcome | None:
        """Send a request and wait for the head of its response; None if it has come."""
        reader, settings = self.reader, self._settings
        reader.begin(bodiless)
        self.written = False
        if self._lost or self._transport.is_closing():
            return UpstreamOutcome.CLOSED
        self._busy = self.written = True
        now = self._loop.time()
        self.deadline = now + settings.first_byte_seconds
        if settings.total_seconds is not None:
            self.last_moment = now + settings.total_seconds
        if len(body) <= ONE_WRITE_BYTES:
            self._transport.write(head + body)
        else:
            await self._write_pieces(head, body)
        while not reader.status and self.problem is None:
            await self._change()
        return self.problem

    async def next_chunk(self) -> bytes | None:
        """What has arrived of the body; b"" if there is no more, None if it broke off."""
        reader = self.reader
        while not reader.buffered and not reader.ended and self.problem is None:
            await self._change()
        if reader.buffered:
            chunk = reader.take()
            if self._paused:
                self._resume_reading()
            return chunk
        return b"" if reader.ended else None

    def settle(self) -> bool:
        """End the use; whether the connection may carry another request."""
        reusable = self.reader.reusable and self.problem is None and self._writable and not self._lost
        self._busy = False
        self._reused, self.used = self.used, True
        self.deadline = self.last_moment = math.inf
        self.idle_since = self._loop.time()
        return reusable and not self._transport.is_closing()

    def is_alive(self) -> bool:
        """Whether nothing speaks against using it again. Readable while idle means closed, or bytes nobody
        asked for; the event loop may not have told us yet, so the socket itself is asked.

        Not on a connection that was kept open once already and has just been used: what asks it dozens of times
        a second finds it open, and the question gives the interpreter to another thread.
        """
        if self._lost or self._transport.is_closing():
            return False
        if self._reused and self._loop.time() - self.idle_since < BUSY_SECONDS:
            return True
        return not self._poll.poll(0)

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def time_out(self) -> None:
        self._fail(UpstreamOutcome.TIMEOUT)

    # --- asyncio calls these ---------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._poll = select.poll()
        self._poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)

    def data_received(self, data: bytes) -> None:
        if not self._busy:
            self._lose()
            return
        reader = self.reader
        reader.feed(data)
        if reader.malformed:
            self._fail(UpstreamOutcome.MALFORMED)
        elif reader.status:
            if not reader.ended:
                self._expect_more()
            self._wake()

    def eof_received(self) -> None:
        if self._busy:
            self.reader.end_of_connection()
            self._closed()
        else:
            self._lose()

    def connection_lost(self, error: Exception | None) -> None:
        if self._busy:
            self._closed()
        else:
            self._lose()
        self._lost = True

    def pause_writing(self) -> None:
        self._writable = False

    def resume_writing(self) -> None:
        self._writable = True
        self._wake()

    # --- inside ------------------------------------------------------------------------------------------------

    def _expect_more(self) -> None:
        """The idle time runs while we read, and stands still while the caller does not."""
        if self.reader.buffered > HIGH_WATER_BYTES and not self._paused:
            self._transport.pause_reading()
            self._paused, self.deadline = True, math.inf
        else:
            self.deadline = self._loop.time() + self._settings.idle_seconds

    def _resume_reading(self) -> None:
        self._paused = False
        self._transport.resume_reading()
        self.deadline = self._loop.time() + self._settings.idle_seconds

    async def _write_pieces(self, head: bytes, body: bytes) -> None:
        """Stops where the teacher answers before it has read everything; such a connection is not used again."""
        self._transport.write(head)
        for start in range(0, len(body), ONE_WRITE_BYTES):
            while not self._writable and not self.reader.status and self.problem is None:
                await self._change()
            if self.reader.status or self.problem is not None:
                return
            self._transport.write(body[start : start + ONE_WRITE_BYTES])
            self.deadline = self._loop.time() + self._settings.first_byte_seconds

    def _closed(self) -> None:
        if not self.reader.ended:
            self._fail(UpstreamOutcome.CLOSED)
        self.reader.reusable = False
        self._wake()

    def _fail(self, problem: UpstreamOutcome) -> None:
        if self.problem is None:
            self.problem = problem
        self._transport.abort()
        self._wake()

    def _lose(self) -> None:
        """While idle."""
        if not self._lost:
            self._lost = True
            self._transport.abort()
            self._on_idle_lost(self)

    def _change(self) -> asyncio.Future[None]:
        """Done when anything happens: bytes, a problem, room to write."""
        self._waiter = self._loop.create_future()
        return self._waiter

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)
