"""The gateway's end of the student socket: one connection, pipelined by id, that never raises at a caller.

It connects when it is first asked, and again, with back-off, after a loss: no task runs in between.
"""

import asyncio
import logging
from collections.abc import Sequence
from pathlib import Path

from student.wire import (
    Frames,
    Refusal,
    Response,
    StudentReply,
    StudentRequest,
    WireError,
    read_reply,
    request_frame,
)

MAX_OUTSTANDING = 4096  # requests sent and not answered; above it they are refused as queue_full
MAX_BUFFERED_BYTES = 8 * 2**20  # written here and not yet taken by the student; likewise
FIRST_PAUSE_SECONDS = 0.05  # between two attempts to connect, doubled up to the longest
LONGEST_PAUSE_SECONDS = 1.0

log = logging.getLogger(__name__)


class StudentClient:
    """Asks the student process; belongs to the event loop in which it is first used.

    client = StudentClient(socket_path(data_directory))
    response = await client.ask("s-0123456789ab", ["a text"], deadline_seconds=0.25)
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._transport: asyncio.WriteTransport | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._pending: dict[int, tuple[asyncio.Future[Response], asyncio.TimerHandle]] = {}
        self._frames_to_write: list[bytes] = []
        self._write_scheduled = False
        self._bytes_waiting = 0  # in frames not handed to the transport yet
        self._next_id = 0
        self._pause_seconds = FIRST_PAUSE_SECONDS
        self._next_attempt = 0.0  # event-loop time
        self._saturated = False
        self._closed = False

    @property
    def connected(self) -> bool:
        return self._transport is not None

    @property
    def outstanding(self) -> int:
        """Requests that wait for their reply."""
        return len(self._pending)

    def ask(
        self, artifact: str, texts: Sequence[str], deadline_seconds: float, *, urgent: bool = False
    ) -> asyncio.Future[Response]:
        """Await it for one observation per text, or a refusal; it never carries an exception.

        An urgent request, one that a caller waits for, goes before all others.

        A future, not a coroutine, so that a caller who only wants a callback needs no task.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Response] = loop.create_future()
        refusal = self._refuse(loop)
        if refusal is None:
            self._next_id += 1
            deadline_ms = max(1, round(deadline_seconds * 1000))
            frame = request_frame(StudentRequest(self._next_id, artifact, tuple(texts), deadline_ms, urgent))
            if not isinstance(frame, Refusal):
                timer = loop.call_later(deadline_seconds, self._expire, self._next_id)
                self._pending[self._next_id] = future, timer
                self._write_soon(loop, frame)
                return future
            refusal = frame
        future.set_result(refusal)
        return future

    async def close(self) -> None:
        """Refuse what is pending as student_down, and every later call."""
        self._closed = True
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.wait([self._connecting])
        if self._transport is not None:
            self._transport.close()
        self._lose("it was closed")

    def _refuse(self, loop: asyncio.AbstractEventLoop) -> Refusal | None:
        """Why nothing can be sent now; starts to connect where that is due."""
        if self._closed:
            return Refusal.STUDENT_DOWN
        if self._transport is None and self._connecting is None:
            if loop.time() < self._next_attempt:
                return Refusal.STUDENT_DOWN
            self._connecting = loop.create_task(self._connect(loop))
        if (
            self._saturated
            or len(self._pending) >= MAX_OUTSTANDING
            or self._bytes_waiting > MAX_BUFFERED_BYTES
        ):
            return Refusal.QUEUE_FULL
        return None

    def _write_soon(self, loop: asyncio.AbstractEventLoop, frame: bytes) -> None:
        """One system call carries all frames of one turn of the event loop."""
        self._frames_to_write.append(frame)
        self._bytes_waiting += len(frame)
        if not self._write_scheduled and self._transport is not None:
            self._write_scheduled = True
            loop.call_soon(self._write)

    def _write(self) -> None:
        self._write_scheduled = False
        if self._transport is not None and self._frames_to_write:
            self._transport.write(b"".join(self._frames_to_write))
            self._frames_to_write.clear()
            self._bytes_waiting = 0

    async def _connect(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            transport, _ = await loop.create_unix_connection(lambda: _Connection(self), str(self._path))
        except OSError as error:
            self._connecting = None
            self._next_attempt = loop.time() + self._pause_seconds
            self._pause_seconds = min(self._pause_seconds * 2, LONGEST_PAUSE_SECONDS)
            self._lose(f"connecting failed: {error}")
            return
        self._connecting = None
        transport.set_write_buffer_limits(high=MAX_BUFFERED_BYTES)
        self._transport = transport
        self._write()
        log.info("The student at %s is connected. action=student_connected", self._path)

    def _replied(self, reply: StudentReply) -> None:
        self._pause_seconds = FIRST_PAUSE_SECONDS
        waiting = self._pending.pop(reply.id, None)
        if waiting is not None:
            future, timer = waiting
            timer.cancel()
            _resolve(future, reply.response)

    def _expire(self, id: int) -> None:
        future, _ = self._pending.pop(id)
        _resolve(future, Refusal.DEADLINE)

    def _disconnected(self, loop: asyncio.AbstractEventLoop, reason: str) -> None:
        self._transport = None
        self._saturated = False
        self._next_attempt = loop.time() + self._pause_seconds
        self._lose(reason)
        if not self._closed:
            log.warning("The student at %s is gone: %s. action=student_lost", self._path, reason)

    def _lose(self, reason: str) -> None:
        """Whoever waits learns that the student is down."""
        if self._pending:
            log.debug("%d requests lost their student: %s", len(self._pending), reason)
        self._frames_to_write.clear()
        self._bytes_waiting = 0
        for future, timer in self._pending.values():
            timer.cancel()
            _resolve(future, Refusal.STUDENT_DOWN)
        self._pending.clear()


def _resolve(future: asyncio.Future[Response], response: Response) -> None:
    if not future.done():  # the caller may have been cancelled
        future.set_result(response)


class _Connection(asyncio.Protocol):
    """Callbacks of one connection."""

    def __init__(self, client: StudentClient) -> None:
        self._client = client
        self._frames = Frames()
        self._transport: asyncio.BaseTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, chunk: bytes) -> None:
        try:
            for frame in self._frames.feed(chunk):
                self._client._replied(read_reply(frame))
        except WireError as error:
            log.error("The student speaks another protocol: %s. action=student_protocol", error)
            if self._transport is not None:
                self._transport.close()

    def pause_writing(self) -> None:
        self._client._saturated = True

    def resume_writing(self) -> None:
        self._client._saturated = False

    def connection_lost(self, error: Exception | None) -> None:
        reason = str(error) if error else "it closed the connection"
        self._client._disconnected(asyncio.get_running_loop(), reason)
