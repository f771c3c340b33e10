"""Streams of server-sent events through a real gateway: nothing waits, and what is cut is never a whole answer."""

import asyncio
import gzip
import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from ledger.exchange import Exchange, Outcome, Unpaired
from tests.clients.conftest import configured
from tests.gateway.dialects import chat
from tests.gateway.running import Running, ended, start_gateway_on, wait_until
from tests.gateway.teachers import serving

PATHS = {"plain": "/v1/chat/completions", "amended": "/asking/v1/chat/completions"}
LISTED = {"Ship": 0.5, "Bill": 0.25, "Oth": 0.125}
TOLD = [chat.logprobs([("Ship", LISTED)]), None]
WHOLE = chat.stream(chat.chunks(["Ship", "ping"], TOLD))
ENDED = threading.Event()
ENDED.set()


class ScriptedTeacher:
    """Streams its pieces, each only when its event is set; then it ends, or breaks off."""

    def __init__(self) -> None:
        self.script: list[tuple[threading.Event, bytes]] = []
        self.breaks_off = False
        self.coding = b""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        while (await receive()).get("more_body"):
            pass
        coding = [(b"content-encoding", self.coding)] if self.coding else []
        headers = [(b"content-type", b"text/event-stream"), *coding]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for may_go, piece in self.script:
            while not may_go.is_set():
                await asyncio.sleep(0.005)
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        if self.breaks_off:
            raise ConnectionAbortedError("cut on command")
        await send({"type": "http.response.body"})


@pytest.fixture(scope="module")
def setting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, ScriptedTeacher]]:
    directory = tmp_path_factory.mktemp("streams")
    with ExitStack() as stack:
        teacher = ScriptedTeacher()
        url = stack.enter_context(serving(teacher))
        yield stack.enter_context(ended(start_gateway_on(directory, *configured(directory, url)))), teacher


def open_stream(running: Running, path: str) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
    connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=20)
    body = {"model": "small", "messages": [{"role": "user", "content": "x"}], "stream": True}
    connection.request("POST", PATHS[path], json.dumps(body))
    return connection, connection.getresponse()


def stream(setting: tuple[Running, ScriptedTeacher], path: str, *pieces: bytes, **changes: Any) -> Exchange:
    """One stream in these pieces, read to its end, and what was recorded of it."""
    running, teacher = setting
    teacher.script = [(ENDED, piece) for piece in pieces]
    teacher.breaks_off, teacher.coding = changes.get("breaks_off", False), changes.get("coding", b"")
    connection, response = open_stream(running, path)
    try:
        response.read()
        assert not teacher.breaks_off
    except (http.client.IncompleteRead, ConnectionError):
        assert teacher.breaks_off
    finally:
        connection.close()
    running.settled()
    return running.exchanges()[-1]


@pytest.mark.parametrize("path", PATHS)
def test_events_are_passed_on_as_they_come(setting: tuple[Running, ScriptedTeacher], path: str) -> None:
    """The caller has each event before the teacher writes the next."""
    running, teacher = setting
    blocks = [block + b"\n\n" for block in WHOLE.split(b"\n\n")[:-1]]
    gates = [threading.Event() for _ in blocks]
    teacher.script, teacher.breaks_off, teacher.coding = list(zip(gates, blocks, strict=True)), False, b""
    gates[0].set()  # the head may come with the first piece only
    connection, response = open_stream(running, path)
    for place, block in enumerate(blocks):
        gates[place].set()
        received = b"".join(iter(response.readline, b"\n"))
        if path == "plain":
            assert received + b"\n" == block
        else:
            assert b"top_logprobs" not in received
    assert response.read() == b""
    connection.close()


@pytest.mark.parametrize("path", PATHS)
def test_pieces_of_any_size(setting: tuple[Running, ScriptedTeacher], path: str) -> None:
    """Events cut anywhere are put together for the record, logprobs and all."""
    exchange = stream(setting, path, *[WHOLE[at : at + 50] for at in range(0, len(WHOLE), 50)])
    assert (exchange.outcome, exchange.unpaired) == (Outcome.COMPLETE, None)
    assert exchange.teacher[0].probabilities == pytest.approx((0.25 / 0.875, 0.5 / 0.875, 0.125 / 0.875))
    assert exchange.teacher[0].other == pytest.approx(0.125)


def test_encoded_stream(setting: tuple[Running, ScriptedTeacher]) -> None:
    """A gzip stream passes as it is, and is read for the record."""
    exchange = stream(setting, "plain", gzip.compress(WHOLE), coding=b"gzip")
    assert (exchange.unpaired, exchange.teacher[0].top) == (None, 1)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("kept", [len(WHOLE), len(WHOLE) - 14, 300])
def test_cut_streams(setting: tuple[Running, ScriptedTeacher], path: str, kept: int) -> None:
    """A stream that breaks off is recorded as cut and makes no pair, however much of it came (litellm #42085)."""
    exchange = stream(setting, path, WHOLE[:kept], breaks_off=True)
    assert (exchange.outcome, exchange.unpaired) == (Outcome.UPSTREAM_TRUNCATED, Unpaired.INCOMPLETE)
    assert exchange.teacher == ()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (WHOLE[:300], Unpaired.STREAM_UNFINISHED),
        (WHOLE.removesuffix(b"data: [DONE]\n\n"), Unpaired.STREAM_UNFINISHED),
        (WHOLE.replace(b'"finish_reason":"stop"', b'"finish_reason":null'), Unpaired.STREAM_UNFINISHED),
        (b'data: {"error":{"message":"overloaded"}}\n\n', Unpaired.STREAM_ERROR),
        (WHOLE.replace(b'"ping"', b'"wreck"'), Unpaired.LABEL_UNKNOWN),
    ],
)
def test_streams_that_end_too_early(
    setting: tuple[Running, ScriptedTeacher], content: bytes, reason: Unpaired
) -> None:
    """A clean end is not a whole answer (litellm #39898): without finish reason and [DONE] there is no pair."""
    exchange = stream(setting, "plain", content)
    assert (exchange.outcome, exchange.unpaired) == (Outcome.COMPLETE, reason)


def test_caller_who_leaves(setting: tuple[Running, ScriptedTeacher]) -> None:
    """A caller who leaves in the middle of a stream is recorded as gone, without a pair (litellm #14457)."""
    running, teacher = setting
    never = threading.Event()
    teacher.script, teacher.breaks_off, teacher.coding = [(ENDED, WHOLE[:300]), (never, b"")], False, b""
    before = len(running.exchanges())
    connection, response = open_stream(running, "plain")
    response.read(10)
    response.close()
    connection.close()
    wait_until(lambda: len(running.exchanges()) > before)
    never.set()
    exchange = running.exchanges()[-1]
    assert (exchange.outcome, exchange.unpaired) == (Outcome.CLIENT_DISCONNECT, Unpaired.INCOMPLETE)
