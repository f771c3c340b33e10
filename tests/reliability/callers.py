"""Callers that send requests with an id each and remember what they received."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from itertools import count

ASK_SECONDS = 30.0
KEPT_BYTES = 64 * 1024

_numbers = count(1)


@dataclass(frozen=True, slots=True)
class Seen:
    """What one caller received for one request."""

    request: str  # the caller's own id of it
    status: int  # 0: not even a status line
    exchange: str | None
    served_by: str
    complete: bool  # the body came to the end that its framing announces
    body: bytes  # its first KEPT_BYTES
    length: int
    sent_at: float  # time.monotonic()
    ended_at: float

    @property
    def seconds(self) -> float:
        return self.ended_at - self.sent_at


def fresh_id() -> str:
    """An id that no other request of this test run has."""
    return f"r{next(_numbers):08d}"


def request_bytes(
    request: str, path: str = "/predict", method: str = "POST", body: bytes | None = None
) -> bytes:
    """The id stands in the text, so that it is found again in the record, and in a header for the teacher."""
    content = b'{"inputs":"%s my billing"}' % request.encode() if body is None else body
    head = f"{method} {path} HTTP/1.1\r\nHost: gateway\r\nX-Request: {request}\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    return head.encode() + content


class Connection:
    """One keep-alive connection, opened when it is needed."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def ask(self, request: str, content: bytes | None = None, path: str = "/predict") -> Seen:
        """Send one request and read its whole response. A connection that breaks is part of what is seen."""
        sent_at = time.monotonic()
        partial = _Partial(request, sent_at)
        try:
            async with asyncio.timeout(ASK_SECONDS):
                await self._exchange(partial, content or request_bytes(request, path))
        except (OSError, EOFError, TimeoutError, asyncio.LimitOverrunError, ValueError):
            await self.close()
        except asyncio.CancelledError:
            await self.close()
            raise
        return partial.seen()

    async def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            with suppress(OSError):
                await self._writer.wait_closed()
        self._reader = self._writer = None

    async def _exchange(self, partial: "_Partial", content: bytes) -> None:
        if self._reader is None or self._writer is None or self._reader.at_eof():
            await self.close()
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        self._writer.write(content)
        head = await self._reader.readuntil(b"\r\n\r\n")
        fields = partial.read_head(head)
        async for chunk in _body(self._reader, partial.status, fields):
            partial.take(chunk)
        partial.complete = True
        if fields.get("connection", "").lower() == "close":
            await self.close()


class _Partial:
    """What has arrived so far."""

    def __init__(self, request: str, sent_at: float) -> None:
        self.request, self.sent_at = request, sent_at
        self.status, self.fields, self.length, self.complete = 0, dict[str, str](), 0, False
        self._kept = bytearray()

    def read_head(self, head: bytes) -> dict[str, str]:
        lines = head.decode("latin-1").split("\r\n")
        self.status = int(lines[0].split(" ")[1])
        self.fields = {
            name.lower(): value.strip()
            for name, _, value in (line.partition(":") for line in lines[1:] if line)
        }
        return self.fields

    def take(self, chunk: bytes) -> None:
        self.length += len(chunk)
        self._kept += chunk[: KEPT_BYTES - len(self._kept)]

    def seen(self) -> Seen:
        return Seen(
            self.request,
            self.status,
            self.fields.get("x-stillgate-exchange"),
            self.fields.get("x-stillgate-served-by", ""),
            self.complete,
            bytes(self._kept),
            self.length,
            self.sent_at,
            time.monotonic(),
        )


async def _body(reader: asyncio.StreamReader, status: int, fields: dict[str, str]) -> AsyncIterator[bytes]:
    """The body's bytes, however it is framed. Raises EOFError when it is cut."""
    if status in (204, 304):
        return
    if fields.get("transfer-encoding", "").lower() == "chunked":
        async for chunk in _chunks(reader):
            yield chunk
    elif "content-length" in fields:
        async for chunk in _exactly(reader, int(fields["content-length"])):
            yield chunk
    else:
        while chunk := await reader.read(65536):
            yield chunk


async def _chunks(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
        async for chunk in _exactly(reader, size):
            yield chunk
        await reader.readexactly(2)
    await reader.readuntil(b"\r\n")


async def _exactly(reader: asyncio.StreamReader, size: int) -> AsyncIterator[bytes]:
    while size:
        chunk = await reader.read(min(size, 65536))
        if not chunk:
            raise EOFError("the connection ended in the middle of a body")
        size -= len(chunk)
        yield chunk


class Load:
    """What a load has seen so far; `stop` ends it."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self.sent = 0
        self._stopping = threading.Event()

    @property
    def stopping(self) -> bool:
        return self._stopping.is_set()

    def stop(self) -> None:
        self._stopping.set()

    def answered(self) -> int:
        return sum(seen.complete and seen.status == 200 for seen in self.seen)


Ask = Callable[[Connection, str], "asyncio.Future[Seen]"]


@contextmanager
def closed_load(
    port: int, callers: int, pause_seconds: float = 0.0, path: str = "/predict"
) -> Iterator[Load]:
    """So many callers in a thread of their own, each asking again as soon as it was answered. After a failure
    a caller waits a moment, so that a gateway that is down is not flooded with connections."""
    load = Load()

    async def call() -> None:
        async with connection_to(port) as connection:
            while not load.stopping:
                load.sent += 1
                seen = await connection.ask(fresh_id(), path=path)
                load.seen.append(seen)
                await asyncio.sleep(pause_seconds if seen.status else 0.02)

    async def run() -> None:
        await asyncio.gather(*(call() for _ in range(callers)))

    with in_thread(run, load):
        yield load


@contextmanager
def open_load(port: int, rate: float, path: str = "/predict") -> Iterator[Load]:
    """`rate` requests a second whatever becomes of the earlier ones."""
    load = Load()
    idle: list[Connection] = []
    asking: set[asyncio.Task[None]] = set()

    async def call() -> None:
        connection = idle.pop() if idle else Connection(port)
        load.seen.append(await connection.ask(fresh_id(), path=path))
        idle.append(connection)

    async def run() -> None:
        started = time.monotonic()
        while not load.stopping:
            while load.sent < (time.monotonic() - started) * rate:
                load.sent += 1
                task = asyncio.ensure_future(call())
                asking.add(task)
                task.add_done_callback(asking.discard)
            await asyncio.sleep(0.002)
        while asking:
            await asyncio.sleep(0.01)
        for connection in idle:
            await connection.close()

    with in_thread(run, load):
        yield load


@asynccontextmanager
async def connection_to(port: int) -> AsyncIterator[Connection]:
    connection = Connection(port)
    try:
        yield connection
    finally:
        await connection.close()


@contextmanager
def in_thread(run: Callable[[], object], load: Load) -> Iterator[None]:
    """The coroutine function in a loop of its own until the load is told to stop and has ended."""
    failures: list[BaseException] = []

    def work() -> None:
        try:
            asyncio.run(run())  # type: ignore[arg-type]  # a coroutine function
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield
    finally:
        load.stop()
        thread.join(ASK_SECONDS + 30)
    assert not thread.is_alive(), "the load did not end"
    assert not failures, failures


def percentile(seconds: list[float], share: float) -> float:
    """In milliseconds, rounded; 0 of nothing."""
    ordered = sorted(seconds)
    return round(ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1e3, 1) if ordered else 0.0
