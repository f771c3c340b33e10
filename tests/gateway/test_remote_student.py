"""A student behind Open Inference Protocol v2: asked in shadow alone, and never able to disturb a caller."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import orjson
import pytest

from gateway.remote_student import RemoteStudent
from ledger.configuration import ConfigurationError, RemoteStudentSection, load
from ledger.observation import Observation
from student.wire import Refusal
from tests.gateway.running import Running, gateway, wait_until, write_configuration
from tests.gateway.teachers import CLASSES, TeacherApp
from tests.ports import free_port

SETTINGS = '[task.remote_student]\nurl = "{url}"\nmodel = "small"\nversion = "3"'
ARTIFACT = "remote:small/3"


def answering(probabilities: list[float]) -> bytes:
    body = orjson.dumps(
        {"outputs": [{"name": "p", "shape": [1, 3], "datatype": "FP32", "data": probabilities}]}
    )
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


class Peer:
    """A server that gives the same bytes to everybody; `seen` keeps the requests."""

    def __init__(self, reply: bytes | None) -> None:
        self.reply, self.seen = reply, list[bytes]()
        self.ended = asyncio.Event()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        self.seen.append(head + await reader.readexactly(length))
        with suppress(OSError):
            if self.reply is None:
                await reader.read()  # until the other side gives up
            else:
                writer.write(self.reply)
                await writer.drain()
        writer.close()
        self.ended.set()


async def said_by(peer: Peer, seconds: float = 5.0) -> object:
    server = await asyncio.start_server(peer, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    remote = RemoteStudent(RemoteStudentSection(url=url, model="small", version="3"), CLASSES, "stillgate-g0")
    try:
        return await remote.ask(ARTIFACT, ["billing"], seconds)
    finally:
        await asyncio.wait_for(peer.ended.wait(), 10)
        server.close()


async def test_it_is_asked_in_the_protocol_and_read_in_the_tasks_order() -> None:
    """One BYTES tensor of texts to the model's version, with our name in Via; probabilities come back."""
    peer = Peer(answering([0.7, 0.2, 0.1]))
    assert await said_by(peer) == (Observation((0.7, 0.2, 0.1)),)
    head, _, body = peer.seen[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /v2/models/small/versions/3/infer HTTP/1.1\r\n")
    assert b"Via: 1.1 stillgate-g0\r\n" in head
    tensor = {"name": "text", "shape": [1], "datatype": "BYTES", "data": ["billing"]}
    assert orjson.loads(body) == {"inputs": [tensor]}


@pytest.mark.parametrize(
    ("reply", "refusal"),
    [
        (b"HTTP/1.1 508 Loop Detected\r\nContent-Length: 0\r\n\r\n", Refusal.LOOP),
        (b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", Refusal.QUEUE_FULL),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", Refusal.FAILED),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", Refusal.FAILED),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{", Refusal.FAILED),
        (answering([0.7, 0.2, 0.1])[:-5], Refusal.FAILED),
        (b"this is not HTTP\r\n\r\n", Refusal.FAILED),
        (b"", Refusal.FAILED),
    ],
)
async def test_what_is_no_answer(reply: bytes, refusal: Refusal) -> None:
    """Errors, cuts and nonsense are refusals with their reason, never an exception."""
    assert await said_by(Peer(reply)) is refusal


async def test_a_silent_server_costs_its_deadline() -> None:
    """The deadline covers connecting, writing and reading together."""
    assert await said_by(Peer(None), 0.2) is Refusal.DEADLINE


async def test_nobody_listens() -> None:
    """A refused connection is a student that is down."""
    settings = RemoteStudentSection(url=f"http://127.0.0.1:{free_port()}", model="small")
    assert await RemoteStudent(settings, CLASSES, "g").ask("a", ["x"], 5) is Refusal.STUDENT_DOWN


@contextmanager
def shadowed_by(directory: Path, teacher_url: str, url: str) -> Iterator[Running]:
    with gateway(directory, teacher_url, remote_student=SETTINGS.format(url=url)) as process:
        yield process


def test_a_remote_student_in_shadow(teacher: TeacherApp, teacher_url: str, tmp_path: Path) -> None:
    """Without stage or certificate it answers off the path, is recorded under a name of its own, and never serves.
    (The teacher of the tests speaks the protocol too, so it plays the student.)"""
    with shadowed_by(tmp_path, teacher_url, teacher_url) as process:
        reply = process.predict("billing")
        assert reply.header("x-stillgate-served-by") == "teacher"
        process.settled()
        (exchange,) = process.exchanges()
        wait_until(lambda: len(process.answers(exchange.sequence)) == 1)
        (answer,) = process.answers(exchange.sequence)
        assert (answer.responder, answer.observations) == (ARTIFACT, exchange.teacher)


def test_a_url_that_leads_back_is_found_out(teacher_url: str, tmp_path: Path) -> None:
    """Through another server, where no configuration check can see it: the gateway recognises its own Via, the
    answer is 508, and nothing goes round a second time."""
    back = free_port()
    with (
        shadowed_by(tmp_path, teacher_url, f"http://127.0.0.1:{back}") as process,
        relaying(back, process.port),
    ):
        process.predict("billing")
        loop = 'stillgate_shadow_dropped_total{reason="loop"}'
        wait_until(lambda: process.metrics().get(loop) == 1)
        accounts = process.settled()
        assert accounts["requests"] == 2  # the caller's, and the one that came back


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_the_gateways_own_address_is_refused_at_the_start(tmp_path: Path, host: str) -> None:
    """The sentence names both settings."""
    path, port, _ = write_configuration(tmp_path, "http://127.0.0.1:9")
    settings = SETTINGS.format(url=f"http://{host}:{port}")
    path.write_text(path.read_text().replace("[task.shadow]", f"{settings}\n[task.shadow]", 1))
    with pytest.raises(ConfigurationError, match=r"remote_student\.url .* is gateway\.listen itself"):
        load(path)


@contextmanager
def relaying(port: int, target: int) -> Iterator[None]:
    """A TCP relay in a thread: what a load balancer with the wrong target does."""
    listener = socket.create_server(("127.0.0.1", port))

    def pump(source: socket.socket, sink: socket.socket) -> None:
        with closing(source):
            while chunk := source.recv(65536):
                sink.sendall(chunk)

    def accept() -> None:
        while True:
            try:
                caller, _ = listener.accept()
            except OSError:
                return
            onward = socket.create_connection(("127.0.0.1", target))
            for one, other in ((caller, onward), (onward, caller)):
                threading.Thread(target=pump_quietly, args=(one, other), daemon=True).start()

    def pump_quietly(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            pump(source, sink)

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
