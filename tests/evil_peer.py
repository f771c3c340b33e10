"""EvilPeer: a teacher on raw sockets, in a thread of its own, that answers with any bytes at any pace.

What it does with a request is a script, a tuple of steps: Send bytes (whole or sliced), Wait (with jitter),
Stall until the peer leaves, Close, Reset (a TCP RST). Scripts come from functions:

    answer(b"hello")                     a whole, valid response (status=, headers=, chunked=, keep_alive=)
    late(script, seconds, jitter)        latency before anything is sent
    sliced(script, size=1, pause=0)      the same bytes in small writes
    limited(script, count, reset=False)  only the first bytes, then the connection ends
    stalled(script, count)               only the first bytes, then nothing until the peer leaves
    slow_close(script, seconds)          the connection is closed late
    closes_silently(), resets(), malformed(content), gzip_bomb(size), answer_twice(), interim_first(), trailers()

Which script a request meets, the first that applies:

    peer.on_connect = script             runs when a connection opens, before a request is read
    peer.then(script, script, ...)       once each, for the requests that come next
    peer.at["/stall"] = script           for the target's path
    peer.always = script                 for everything else; answer(b"ok") at first

`peer.reads_bodies = False` lets scripts answer on the head of a request, before its body has come.

`peer.refuse()` stops listening (ECONNREFUSED), `peer.listen()` takes the same port again, and
`peer.drop_connections()` closes what is open, idle ones too. The ledger: `peer.connections` holds every
connection with its requests, its byte counts, when it opened and closed and who ended it; `peer.requests` are
all requests in order; `peer.violations` says in words what of the received bytes was not valid HTTP/1.1.

    with evil_peer() as peer:
        peer.then(limited(answer(b"x" * 100), 60, reset=True))
        ...                              # ask peer.url
        assert len(peer.requests) == 1

The ledger is written by the peer's thread and may be read by any.
"""

import asyncio
import gzip
import random
import re
import socket
import ssl
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class Send:
    content: bytes
    slice_bytes: int = 0  # 0: one write
    pause_seconds: float = 0.0  # after each slice


@dataclass(frozen=True, slots=True)
class Wait:
    seconds: float
    jitter_seconds: float = 0.0  # uniform, added


@dataclass(frozen=True, slots=True)
class Stall:
    """Until the peer leaves."""


@dataclass(frozen=True, slots=True)
class Close:
    """FIN after everything that was sent."""


@dataclass(frozen=True, slots=True)
class Reset:
    """RST; what was sent and not yet received may be lost."""


Step = Send | Wait | Stall | Close | Reset
Script = tuple[Step, ...]


def answer(
    body: bytes = b"ok",
    status: int = 200,
    headers: tuple[tuple[bytes, bytes], ...] = (),
    chunked: bool = False,
    keep_alive: bool = True,
) -> Script:
    fields = b"".join(b"%s: %s\r\n" % pair for pair in headers)
    framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % len(body)
    close = b"" if keep_alive else b"Connection: close\r\n"
    content = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body) if chunked and body else body
    content = content or (b"0\r\n\r\n" if chunked else b"")
    whole = Send(b"HTTP/1.1 %d Status\r\n%s%s%s\r\n\r\n%s" % (status, fields, close, framing, content))
    return (whole,) if keep_alive else (whole, Close())


def late(script: Script, seconds: float, jitter: float = 0.0) -> Script:
    return (Wait(seconds, jitter), *script)


def sliced(script: Script, size: int = 1, pause: float = 0.0) -> Script:
    return tuple(
        replace(step, slice_bytes=size, pause_seconds=pause) if isinstance(step, Send) else step
        for step in script
    )


def limited(script: Script, count: int, reset: bool = False) -> Script:
    return (Send(_sent(script)[:count]), Reset() if reset else Close())


def stalled(script: Script, count: int = 0) -> Script:
    return (Send(_sent(script)[:count]), Stall())


def slow_close(script: Script, seconds: float) -> Script:
    return (*(step for step in script if step != Close()), Wait(seconds), Close())


def closes_silently() -> Script:
    return (Close(),)


def resets() -> Script:
    return (Reset(),)


def malformed(content: bytes, close: bool = True) -> Script:
    return (Send(content), Close()) if close else (Send(content),)


def gzip_bomb(size: int) -> Script:
    """About a thousandth of `size` on the wire."""
    return answer(gzip.compress(bytes(size), mtime=0), headers=((b"Content-Encoding", b"gzip"),))


def answer_twice(first: bytes = b"first", second: bytes = b"second") -> Script:
    return (Send(_sent(answer(first)) + _sent(answer(second))),)


def interim_first(script: Script, count: int = 1, apart: float = 0.0) -> Script:
    """103 Early Hints before the answer, in the same write or `apart` seconds before it."""
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n" * count
    return (Send(hints), Wait(apart), *script) if apart else (Send(hints + _sent(script)),)


def trailers(body: bytes = b"ok", fields: bytes = b"X-Trailer: 1\r\n") -> Script:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Trailer\r\n\r\n"
    return (Send(head + b"%x\r\n%s\r\n0\r\n%s\r\n" % (len(body), body, fields)),)


def _sent(script: Script) -> bytes:
    return b"".join(step.content for step in script if isinstance(step, Send))


class EndedBy(StrEnum):
    """Who ended a connection."""

    PEER = "peer"  # the other side closed or reset it
    SCRIPT = "script"  # a Close or Reset of ours


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    target: str  # as it stood in the request line
    headers: tuple[tuple[bytes, bytes], ...]  # as they came: case and order kept
    body: bytes
    raw: bytes  # head and body, byte for byte
    connection: int  # index in the peer's connections
    at: float  # time.monotonic() of its last byte

    def values(self, name: bytes) -> list[bytes]:
        return [value for field_name, value in self.headers if field_name.lower() == name.lower()]


@dataclass(slots=True)
class Connection:
    """One entry of the ledger."""

    number: int
    opened_at: float
    requests: list[Request] = field(default_factory=list)
    received: int = 0  # bytes
    sent: int = 0
    closed_at: float | None = None
    ended_by: EndedBy | None = None


class EvilPeer:
    """Made by `evil_peer`; see the module's docstring."""

    def __init__(self, seed: int = 1, tls: ssl.SSLContext | None = None) -> None:
        self.reads_bodies = True
        self.always: Script = answer()
        self.on_connect: Script = ()
        self.at: dict[str, Script] = {}
        self.connections: list[Connection] = []
        self.requests: list[Request] = []
        self.violations: list[str] = []
        self.draw = random.Random(seed)
        self.port = 0
        self._tls = tls
        self._next: deque[Script] = deque()
        self._loop = asyncio.new_event_loop()
        self._server: asyncio.Server | None = None
        self._lines: set[_Line] = set()
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}" if self._tls else f"http://127.0.0.1:{self.port}"

    @property
    def open_connections(self) -> list[Connection]:
        return [connection for connection in list(self.connections) if connection.closed_at is None]

    def then(self, *scripts: Script) -> None:
        self._next.extend(scripts)

    def forget(self) -> None:
        """Empty the ledger of what has ended, and every command."""
        self._next.clear()
        self.at.clear()
        self.always, self.on_connect, self.reads_bodies = answer(), (), True
        self.requests.clear()
        self.violations.clear()

    def refuse(self) -> None:
        """Nobody listens any more: connections are refused. Open ones stay."""
        self._call(self._stop_listening)

    def listen(self) -> None:
        self._call(self._start_listening)

    def drop_connections(self, reset: bool = False) -> None:
        """End everything that is open, idle connections too."""

        async def drop() -> None:
            for line in list(self._lines):
                line.end(reset)

        self._call(drop)

    def script_for(self, request: Request) -> Script:
        if self._next:
            return self._next.popleft()
        return self.at.get(request.target.partition("?")[0], self.always)

    def start(self) -> None:
        self._thread.start()
        self.listen()

    def stop(self) -> None:
        self.refuse()
        self.drop_connections(reset=True)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        for _ in range(2):  # a connection that was accepted in the last moment is made in the first turn
            self._loop.run_until_complete(asyncio.sleep(0.01))
            for line in list(self._lines):
                line.end(reset=True)
        self._loop.run_until_complete(asyncio.sleep(0.01))

    def _call(self, function: Callable[[], object]) -> None:
        asyncio.run_coroutine_threadsafe(function(), self._loop).result(10)  # type: ignore[arg-type]

    async def _start_listening(self) -> None:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        listener.listen(1024)
        self.port = listener.getsockname()[1]
        self._server = await self._loop.create_server(
            lambda: _Line(self, self._lines), sock=listener, ssl=self._tls
        )

    async def _stop_listening(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None


class _Line(asyncio.Protocol):
    """One connection at work."""

    def __init__(self, peer: EvilPeer, lines: "set[_Line]") -> None:
        self._peer, self._lines = peer, lines
        self._received = bytearray()
        self._arrived, self._gone, self._writable = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._writable.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._entry = Connection(len(self._peer.connections), time.monotonic())
        self._peer.connections.append(self._entry)
        self._lines.add(self)
        self._work = asyncio.ensure_future(self._converse())

    def data_received(self, chunk: bytes) -> None:
        self._entry.received += len(chunk)
        self._received += chunk
        self._arrived.set()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def eof_received(self) -> bool:
        self._left()
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self._left()
        self._lines.discard(self)
        if self._entry.closed_at is None:
            self._entry.closed_at = time.monotonic()

    def end(self, reset: bool) -> None:
        if self._entry.ended_by is None:
            self._entry.ended_by = EndedBy.SCRIPT
        if reset:
            linger = struct.pack("ii", 1, 0)
            self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self._transport.abort()
        else:
            self._transport.close()

    def _left(self) -> None:
        if self._entry.ended_by is None:
            self._entry.ended_by = EndedBy.PEER
            self._entry.closed_at = time.monotonic()
        self._gone.set()
        self._arrived.set()
        self._writable.set()

    async def _converse(self) -> None:
        await self._play(self._peer.on_connect)
        while (request := await self._read_request()) is not None:
            self._entry.requests.append(request)
            self._peer.requests.append(request)
            await self._play(self._peer.script_for(request))

    async def _play(self, script: Script) -> None:
        for step in script:
            match step:
                case Send():
                    await self._send(step)
                case Wait():
                    await self._pause(step.seconds + self._peer.draw.random() * step.jitter_seconds)
                case Stall():
                    await self._gone.wait()
                case Close() | Reset():
                    self.end(isinstance(step, Reset))
                    self._gone.set()

    async def _send(self, step: Send) -> None:
        size = step.slice_bytes or len(step.content)
        for start in range(0, len(step.content), size or 1):
            if self._gone.is_set():
                return
            piece = step.content[start : start + size]
            self._transport.write(piece)
            self._entry.sent += len(piece)
            await self._writable.wait()
            if step.slice_bytes:
                await self._pause(step.pause_seconds)

    async def _pause(self, seconds: float) -> None:
        """At least one turn of the loop, so that slices leave one by one; shorter if the peer leaves."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        try:
            await asyncio.wait_for(self._gone.wait(), seconds)
        except TimeoutError:
            return

    async def _read_request(self) -> Request | None:
        head = await self._until(b"\r\n\r\n")
        if head is None:
            return None
        method, target, headers = self._parse(head)
        raw_body, body = await self._read_body(headers) if self._peer.reads_bodies else (b"", b"")
        if raw_body is None:
            return None
        number, now = self._entry.number, time.monotonic()
        return Request(method, target, headers, body, head + raw_body, number, now)

    async def _read_body(self, headers: tuple[tuple[bytes, bytes], ...]) -> tuple[bytes | None, bytes]:
        lengths = [value for name, value in headers if name.lower() == b"content-length"]
        codings = [value for name, value in headers if name.lower() == b"transfer-encoding"]
        if len(lengths) > 1 or (lengths and codings):
            self._peer.violations.append(f"ambiguous framing: {headers!r}")
        if codings:
            return await self._read_chunks()
        if not lengths:
            return b"", b""
        if not re.fullmatch(rb"[0-9]+", lengths[0]):
            self._peer.violations.append(f"Content-Length {lengths[0]!r}")
            return None, b""
        body = await self._exactly(int(lengths[0]))
        return body, body or b""

    async def _read_chunks(self) -> tuple[bytes | None, bytes]:
        raw = body = b""
        while True:
            line = await self._until(b"\r\n")
            if line is None or not re.fullmatch(rb"[0-9a-fA-F]+\r\n", line):
                self._peer.violations.append(f"chunk size {line!r}")
                return None, b""
            size = int(line, 16)
            chunk = await self._exactly(size + 2)
            if chunk is None or not chunk.endswith(b"\r\n"):
                self._peer.violations.append(f"chunk of {size} bytes: {chunk!r}")
                return None, b""
            raw, body = raw + line + chunk, body + chunk[:-2]
            if size == 0:
                return raw, body

    def _parse(self, head: bytes) -> tuple[str, str, tuple[tuple[bytes, bytes], ...]]:
        if _REQUEST_HEAD.fullmatch(head) is None:
            self._peer.violations.append(f"not a request head: {head!r}")
        lines = head[:-4].split(b"\r\n")
        words = lines[0].decode("latin-1").split(" ")
        pairs = [line.partition(b":") for line in lines[1:]]
        headers = tuple((name, value.strip(b" \t")) for name, _, value in pairs)
        if sum(name.lower() == b"host" for name, _ in headers) != 1:
            self._peer.violations.append(f"not exactly one Host: {head!r}")
        return words[0], words[1] if len(words) > 1 else "", headers

    async def _until(self, mark: bytes) -> bytes | None:
        while (found := self._received.find(mark)) < 0:
            if not await self._more():
                return None
        return self._take(found + len(mark))

    async def _exactly(self, count: int) -> bytes | None:
        while len(self._received) < count:
            if not await self._more():
                return None
        return self._take(count)

    async def _more(self) -> bool:
        if self._gone.is_set():
            return False
        self._arrived.clear()
        await self._arrived.wait()
        return True

    def _take(self, count: int) -> bytes:
        taken = bytes(self._received[:count])
        del self._received[:count]
        return taken


_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_REQUEST_HEAD = re.compile(
    rb"%s [!-~]+ HTTP/1\.1\r\n(?:%s:[ \t]*(?:[!-~\x80-\xff](?:[\t -~\x80-\xff]*[!-~\x80-\xff])?)?[ \t]*\r\n)*\r\n"
    % (_TOKEN, _TOKEN)
)


@contextmanager
def evil_peer(seed: int = 1, tls: ssl.SSLContext | None = None) -> Iterator[EvilPeer]:
    """A peer that listens; on leaving, everything of it is closed."""
    peer = EvilPeer(seed, tls)
    peer.start()
    try:
        yield peer
    finally:
        peer.stop()
