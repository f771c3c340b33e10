"""The student process: a unix socket in front of the queue."""

import asyncio
import fcntl
import logging
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from ledger.configuration import Configuration
from student.answering import Answering
from student.following import Following
from student.wire import Frames, Response, StudentReply, StudentRequest, WireError, read_request, reply_frame

BACKLOG = 128

log = logging.getLogger(__name__)


class AlreadyRunning(Exception):
    """Another student process owns the socket."""


async def serve(configuration: Configuration, path: Path) -> None:
    """Answer at `path` and follow the stages until cancelled. Raises AlreadyRunning, OSError."""
    loop = asyncio.get_running_loop()
    settings = configuration.student
    following = Following(configuration)
    answering = Answering(
        following.students, settings.queue_inputs, settings.max_batch_tokens, settings.run_seconds
    )
    following.inputs = answering.counts
    with _owning(path):
        server = await loop.create_unix_server(lambda: _Connection(loop, answering), sock=_listen(path))
        log.info("The student process answers at %s. action=listening", path)
        try:
            # Unlike gather, a group waits until the cancelled have ended: the model's thread must not outlive us.
            async with asyncio.TaskGroup() as group:
                group.create_task(answering.run())
                group.create_task(following.run())
        finally:
            server.close()
            path.unlink(missing_ok=True)


class _Connection(asyncio.Protocol):
    """One gateway process."""

    def __init__(self, loop: asyncio.AbstractEventLoop, answering: Answering) -> None:
        self._loop = loop
        self._answering = answering
        self._frames = Frames()
        self._transport: asyncio.Transport | None = None
        self._replies: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's do not inherit from it

    def data_received(self, chunk: bytes) -> None:
        try:
            for frame in self._frames.feed(chunk):
                request = read_request(frame)
                self._answering.submit(request, self._replier(request))
        except WireError as error:
            log.error("A gateway speaks another protocol: %s. action=gateway_protocol", error)
            if self._transport is not None:
                self._transport.close()

    def pause_writing(self) -> None:
        """A gateway that does not read its replies may send no more requests."""
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        if self._transport is not None:
            self._transport.resume_reading()

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None

    def _replier(self, request: StudentRequest) -> Callable[[Response], None]:
        return lambda response: self._reply_soon(StudentReply(request.id, response))

    def _reply_soon(self, reply: StudentReply) -> None:
        """One system call carries the replies of one batch."""
        if not self._replies:
            self._loop.call_soon(self._write)
        self._replies.append(reply_frame(reply))

    def _write(self) -> None:
        if self._transport is not None:
            self._transport.write(b"".join(self._replies))
        self._replies.clear()


@contextmanager
def _owning(path: Path) -> Iterator[None]:
    """The lock that makes this process the only student at `path`; the kernel frees it on any death."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise AlreadyRunning(
                f"another student process (pid {file.read().strip() or 'unknown'}) already answers at {path};"
                " stop it first, or give this one a data directory of its own"
            ) from None
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


def _listen(path: Path) -> socket.socket:
    """A socket that only its owner may use; a file left by a killed process is replaced."""
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)
    try:
        listener.bind(str(path))
    finally:
        os.umask(mask)
    listener.listen(BACKLOG)
    listener.setblocking(False)
    return listener
