"""The two ends around a gateway that is fed raw bytes: a teacher that reads strictly, with a parser that is not
ours, and a caller that reads responses strictly."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import h11

REPLY = b"teacher's answer"


@dataclass(frozen=True, slots=True)
class Seen:
    method: bytes
    target: bytes
    fields: tuple[tuple[bytes, bytes], ...]
    body: bytes

    def named(self, name: bytes) -> list[bytes]:
        return [value for field_name, value in self.fields if field_name == name]


@dataclass(slots=True)
class StrictTeacher:
    """`seen` keeps every request, `violations` what h11 would not read."""

    seen: list[Seen] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = h11.Connection(h11.SERVER)
        try:
            while await self._one(connection, reader, writer):
                connection.start_next_cycle()
        except h11.RemoteProtocolError as error:
            self.violations.append(str(error))
        except ConnectionError:
            pass
        finally:
            writer.close()

    async def _one(
        self, connection: h11.Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        request, body = None, b""
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                connection.receive_data(await reader.read(65536))
            elif isinstance(event, h11.Request):
                request = event
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage) and request is not None:
                if event.headers:
                    self.violations.append("trailers")
                break
            else:
                return False
        self.seen.append(
            Seen(bytes(request.method), bytes(request.target), tuple(request.headers), body)  # type: ignore[arg-type]
        )
        await self._reply(connection, request, writer)
        return connection.our_state is h11.DONE

    async def _reply(
        self, connection: h11.Connection, request: h11.Request, writer: asyncio.StreamWriter
    ) -> None:
        framing = (
            (b"transfer-encoding", b"chunked")
            if bytes(request.target).startswith(b"/chunked")
            else (b"content-length", b"%d" % len(REPLY))
        )
        content = connection.send(h11.Response(status_code=200, headers=[framing])) or b""
        if request.method != b"HEAD":
            content += connection.send(h11.Data(data=REPLY)) or b""
        content += connection.send(h11.EndOfMessage()) or b""
        writer.write(content)
        await writer.drain()


@contextmanager
def strict_teacher(teacher: StrictTeacher) -> Iterator[str]:
    """The teacher in a thread; yields its URL."""
    loop = asyncio.new_event_loop()
    listening = loop.run_until_complete(asyncio.start_server(teacher, "127.0.0.1", 0))
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    finally:
        loop.call_soon_threadsafe(_end, loop, listening)
        thread.join(10)
        loop.close()


def _end(loop: asyncio.AbstractEventLoop, listening: asyncio.Server) -> None:
    listening.close()
    for task in asyncio.all_tasks(loop):
        task.cancel()
    loop.call_later(0.05, loop.stop)


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    fields: tuple[tuple[bytes, bytes], ...]
    body: bytes

    def named(self, name: bytes) -> list[bytes]:
        return [value for field_name, value in self.fields if field_name == name]


class RawCaller:
    """One connection to the gateway; what comes back is read by h11, one response after the other."""

    def __init__(self, port: int) -> None:
        self._take(socket.create_connection(("127.0.0.1", port), timeout=10))

    @classmethod
    def of(cls, connection: socket.socket) -> "RawCaller":
        """One on a socket that was made elsewhere."""
        caller = cls.__new__(cls)
        caller._take(connection)
        return caller

    def _take(self, connection: socket.socket) -> None:
        self.socket = connection
        self._held = b""

    def __enter__(self) -> "RawCaller":
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, content: bytes) -> None:
        self.socket.sendall(content)

    def answer(self, bodiless: bool = False) -> Answer:
        """The next final response. Raises h11.RemoteProtocolError on one that is cut or not valid."""
        parser = h11.Connection(h11.CLIENT)
        parser.send(h11.Request(method="HEAD" if bodiless else "GET", target="/", headers=[("host", "a")]))
        parser.send(h11.EndOfMessage())
        if self._held:
            parser.receive_data(self._held)
        response, body = None, b""
        while True:
            event = parser.next_event()
            if event is h11.NEED_DATA:
                parser.receive_data(self.socket.recv(65536))
            elif isinstance(event, h11.Response):
                response = event
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                break
        self._held = parser.trailing_data[0]
        assert response is not None
        return Answer(response.status_code, tuple(response.headers), body)  # type: ignore[arg-type]

    def interim(self) -> bytes:
        """Exactly an interim response, if that comes next."""
        return self.socket.recv(len(b"HTTP/1.1 100 Continue\r\n\r\n"), socket.MSG_WAITALL)

    def closed(self) -> bool:
        """Whether the gateway ends the connection, without a further byte."""
        try:
            return self._held == b"" and self.socket.recv(1) == b""
        except ConnectionError:
            return True
