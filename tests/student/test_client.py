"""The gateway's end of the socket, against servers that misbehave in every way."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from ledger.observation import Observation
from student import client as client_module
from student.client import StudentClient
from student.wire import Frames, Refusal, StudentReply, StudentRequest, read_request, reply_frame

Behaviour = Callable[[StudentRequest, asyncio.StreamWriter], Awaitable[None]]
ANSWER = (Observation((0.25, 0.75)),)


class Peer:
    """A unix socket server that treats every request as `behaviour` says."""

    def __init__(self, path: Path, behaviour: Behaviour) -> None:
        self.path, self.behaviour = path, behaviour
        self.seen: list[StudentRequest] = []
        self.connections = 0
        self._server: asyncio.Server | None = None
        self._writers: list[asyncio.StreamWriter] = []

    async def start(self) -> "Peer":
        self._server = await asyncio.start_unix_server(self._connected, self.path)
        return self

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.append(writer)
        frames = Frames()
        while chunk := await reader.read(2**16):
            for frame in frames.feed(chunk):
                self.seen.append(read_request(frame))
                await self.behaviour(self.seen[-1], writer)
        writer.close()

    async def stop(self) -> None:
        """As a killed process does: the connections end, and nobody listens."""
        assert self._server is not None
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        await self._server.wait_closed()
        self.path.unlink(missing_ok=True)


async def answers(request: StudentRequest, writer: asyncio.StreamWriter) -> None:
    writer.write(reply_frame(StudentReply(request.id, ANSWER)))


async def is_silent(request: StudentRequest, writer: asyncio.StreamWriter) -> None:
    pass


async def hangs_up(request: StudentRequest, writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


async def talks_nonsense(request: StudentRequest, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


async def answered(client: StudentClient) -> bool:
    return await client.ask("s", ["a"], 5) == ANSWER


async def test_replies_find_their_requests_in_any_order(tmp_path: Path) -> None:
    """Pipelined requests are matched by id, not by order."""
    waiting: list[StudentRequest] = []

    async def reverses(request: StudentRequest, writer: asyncio.StreamWriter) -> None:
        waiting.append(request)
        if len(waiting) == 50:
            for one in reversed(waiting):
                share = int(one.texts[0]) / 64
                observation = Observation((share, 1 - share))
                writer.write(reply_frame(StudentReply(one.id, (observation,))))

    peer = await Peer(tmp_path / "s", reverses).start()
    client = StudentClient(peer.path)
    responses = await asyncio.gather(*(client.ask("s", [str(n)], 20) for n in range(50)))
    assert responses == [(Observation((n / 64, 1 - n / 64)),) for n in range(50)]
    await client.close()
    await peer.stop()


async def test_nobody_listens(tmp_path: Path) -> None:
    """Every request is answered student_down at once, and none raises."""
    client = StudentClient(tmp_path / "nobody")
    assert [await client.ask("s", ["a"], 5) for _ in range(3)] == [Refusal.STUDENT_DOWN] * 3
    await client.close()


async def test_a_lost_connection_fails_what_is_pending_and_heals(tmp_path: Path) -> None:
    """Requests in flight become student_down; a later one reaches the restarted process."""
    peer = await Peer(tmp_path / "s", is_silent).start()
    client = StudentClient(peer.path)
    pending = [client.ask("s", ["a"], 30) for _ in range(5)]
    await eventually(lambda: len(peer.seen) == 5)
    await peer.stop()
    assert await asyncio.gather(*pending) == [Refusal.STUDENT_DOWN] * 5
    restarted = await Peer(peer.path, answers).start()
    async with asyncio.timeout(20):
        while not await answered(client):
            await asyncio.sleep(0.01)
    assert client.outstanding == 0
    await client.close()
    await restarted.stop()


async def test_attempts_to_connect_are_spaced(tmp_path: Path) -> None:
    """A process that hangs up on every request is not connected to once per request."""
    peer = await Peer(tmp_path / "s", hangs_up).start()
    client = StudentClient(peer.path)
    responses = [await client.ask("s", ["a"], 5) for _ in range(200)]
    assert set(responses) == {Refusal.STUDENT_DOWN}
    assert peer.connections < 20
    await client.close()
    await peer.stop()


async def test_a_silent_student_costs_its_deadline(tmp_path: Path) -> None:
    """The client keeps the time itself: a hung process never holds a caller longer."""
    peer = await Peer(tmp_path / "s", is_silent).start()
    client = StudentClient(peer.path)
    assert await client.ask("s", ["a"], 0.05) is Refusal.DEADLINE
    assert client.outstanding == 0
    await client.close()
    await peer.stop()


async def test_a_late_reply_is_dropped(tmp_path: Path) -> None:
    """An answer after its deadline disturbs nothing that follows."""
    release = asyncio.Event()

    async def answers_late(request: StudentRequest, writer: asyncio.StreamWriter) -> None:
        if request.texts == ("slow",):
            await release.wait()
        await answers(request, writer)

    peer = await Peer(tmp_path / "s", answers_late).start()
    client = StudentClient(peer.path)
    assert await client.ask("s", ["slow"], 0.05) is Refusal.DEADLINE
    release.set()
    assert await answered(client)
    await client.close()
    await peer.stop()


async def test_nonsense_ends_the_connection(tmp_path: Path) -> None:
    """Something else on the socket is as good as no student."""
    peer = await Peer(tmp_path / "s", talks_nonsense).start()
    client = StudentClient(peer.path)
    assert await client.ask("s", ["a"], 20) is Refusal.STUDENT_DOWN
    await client.close()
    await peer.stop()


async def test_outstanding_requests_are_bounded(tmp_path: Path) -> None:
    """Above the limit the refusal is immediate, and nothing more is kept."""
    peer = await Peer(tmp_path / "s", is_silent).start()
    client = StudentClient(peer.path)
    pending = [client.ask("s", ["a"], 30) for _ in range(client_module.MAX_OUTSTANDING)]
    assert await client.ask("s", ["a"], 30) is Refusal.QUEUE_FULL
    assert client.outstanding == client_module.MAX_OUTSTANDING
    await client.close()
    assert set(await asyncio.gather(*pending)) == {Refusal.STUDENT_DOWN}
    await peer.stop()


async def test_unread_bytes_are_bounded(tmp_path: Path) -> None:
    """A student that stops reading cannot fill the gateway's memory."""
    stopped = asyncio.Event()

    async def stops_reading(request: StudentRequest, writer: asyncio.StreamWriter) -> None:
        await stopped.wait()

    peer = await Peer(tmp_path / "s", stops_reading).start()
    client = StudentClient(peer.path)
    text = "x" * 2**20
    responses = []
    for _ in range(60):
        future = client.ask("s", [text], 30)
        await asyncio.sleep(0)
        responses.append(future)
    refused = [future.result() for future in responses if future.done()]
    assert refused
    assert set(refused) == {Refusal.QUEUE_FULL}
    stopped.set()
    await client.close()
    await peer.stop()


@pytest.mark.parametrize(
    ("text", "refusal"), [("\ud800", Refusal.FAILED), ("x" * (33 * 2**20), Refusal.TOO_LARGE)]
)
async def test_what_cannot_be_sent_is_refused_here(tmp_path: Path, text: str, refusal: Refusal) -> None:
    """It does not cost the connection."""
    peer = await Peer(tmp_path / "s", answers).start()
    client = StudentClient(peer.path)
    assert await client.ask("s", [text], 5) is refusal
    assert await answered(client)
    await client.close()
    await peer.stop()


async def test_after_close_everything_is_refused(tmp_path: Path) -> None:
    """Closing answers what is pending, and nothing connects again."""
    peer = await Peer(tmp_path / "s", is_silent).start()
    client = StudentClient(peer.path)
    pending = client.ask("s", ["a"], 30)
    await eventually(lambda: bool(peer.seen))
    await client.close()
    assert await pending is Refusal.STUDENT_DOWN
    assert await client.ask("s", ["a"], 30) is Refusal.STUDENT_DOWN
    assert peer.connections == 1
    await peer.stop()


async def test_a_cancelled_caller_disturbs_nothing(tmp_path: Path) -> None:
    """Its reply arrives for nobody."""
    peer = await Peer(tmp_path / "s", answers).start()
    client = StudentClient(peer.path)
    client.ask("s", ["a"], 30).cancel()
    assert await answered(client)
    assert client.outstanding == 0
    await client.close()
    await peer.stop()
