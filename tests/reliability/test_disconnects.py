"""Callers that leave at every moment, by the thousand, over a small pool: nothing is lost and nothing stays.

The same load empties the pool of httpx for good: encode/httpcore#1093, #1094, #1099.
"""

import asyncio
import os
import random
import socket
import struct
from collections import Counter
from pathlib import Path

import pytest

from ledger.exchange import Outcome
from tests.evil_peer import EvilPeer, Script, answer, evil_peer, late, sliced, stalled
from tests.gateway.running import Running, assert_identity, gateway, wait_until
from tests.reliability.rows import Row
from tests.reliability.scale import sized

POOL = 10
CALLERS = 40  # at a time
BODY = b'[{"label":"billing","score":0.9},{"label":"shipping","score":0.05},{"label":"other","score":0.05}]'

# path -> what the teacher does there, and how long a caller stays before it leaves, in seconds
MOMENTS: dict[str, tuple[Script, float]] = {
    "/before": (late(answer(BODY), 0.05), 0.02),
    "/stream": (sliced(answer(BODY * 50, chunked=True), 500, pause=0.005), 0.03),
    "/body": (sliced(answer(BODY * 50), 500, pause=0.005), 0.03),
    "/after": (answer(BODY), 0.05),
    "/never": (stalled(answer(BODY)), 0.02),
}
WEIGHTS = (30, 30, 15, 23, 2)  # the last one holds a connection until the gateway notices


@pytest.mark.row("F11")
def test_disconnects(row: Row, tmp_path: Path) -> None:
    """Callers leave before the first byte, in the middle and after the last one; then 100 of 100 are good."""
    count = sized(400, 20_000, 20_000)
    row.size = f"{count:,} disconnects, pool of {POOL}"
    settings = f"max_connections = {POOL}\npool_wait_seconds = 5"
    gateway_settings = "max_in_flight = 5000"  # who left is in flight until that was noticed
    with (
        evil_peer() as peer,
        gateway(tmp_path, peer.url, teacher_settings=settings, gateway=gateway_settings) as process,
    ):
        peer.at.update({path: script for path, (script, _) in MOMENTS.items()})
        peer.always = answer(BODY)
        process.predict("warm")
        before = descriptors(process)
        asyncio.run(leave_by_the_thousand(process, row.rng, count))
        last_left_at_rest(process, peer)
        replies = [process.predict("good") for _ in range(100)]
        assert [(reply.status, reply.body) for reply in replies] == [(200, BODY)] * 100
        outcomes = outcomes_accounted(process, 1 + count + 100, count)
        assert len(peer.open_connections) <= POOL
        wait_until(lambda: descriptors(process) <= before)
        assert_asked_once(process, peer)
        row.note(
            requests=sum(outcomes.values()), answered=outcomes[Outcome.COMPLETE], unaccounted=0, leaked=0
        )
        row.note(disconnected=outcomes[Outcome.CLIENT_DISCONNECT])
        assert process.stop() == 0


async def leave_by_the_thousand(process: Running, draw: random.Random, count: int) -> None:
    paths = draw.choices(list(MOMENTS), WEIGHTS, k=count)
    turns = asyncio.Semaphore(CALLERS)
    async with asyncio.TaskGroup() as callers:
        for path in paths:
            await turns.acquire()
            stay = draw.uniform(0, 2 * MOMENTS[path][1])
            caller = callers.create_task(call_and_leave(process.port, path, stay, draw.random() < 0.5))
            caller.add_done_callback(lambda _: turns.release())


async def call_and_leave(port: int, path: str, seconds: float, reset: bool) -> None:
    """A whole request, then FIN or RST after a while, whatever has come by then."""
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"POST %b HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}" % path.encode())
    await writer.drain()
    await asyncio.sleep(seconds)
    if reset:
        linger = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.transport.abort()
    writer.close()


def last_left_at_rest(process: Running, peer: EvilPeer) -> None:
    """Nothing is in flight; a connection that was not read to its end was closed, soon after its caller left."""
    busy = 'stillgate_upstream_connections{state="busy",task="desk"}'
    wait_until(lambda: process.metrics()["stillgate_inflight_requests"] == 0, seconds=10)
    assert process.metrics()[busy] == 0
    wait_until(lambda: len(peer.open_connections) <= POOL, seconds=5)


def outcomes_accounted(process: Running, requests: int, left: int) -> Counter[Outcome]:
    """Every request that was read is one exchange. A caller may reset before its request was read."""
    accounts = process.settled()
    assert_identity(accounts)
    assert requests - left <= accounts["requests"] <= requests
    assert accounts["recorded"] == accounts["requests"]
    outcomes = Counter(exchange.outcome for exchange in process.exchanges())
    assert set(outcomes) <= {Outcome.COMPLETE, Outcome.CLIENT_DISCONNECT, Outcome.UPSTREAM_UNREACHABLE}
    return outcomes


def assert_asked_once(process: Running, peer: EvilPeer) -> None:
    """The teacher never got more requests than there were exchanges, and never an invalid one."""
    assert len(peer.requests) <= len(process.exchanges())
    assert not peer.violations


def descriptors(process: Running) -> int:
    return len(os.listdir(f"/proc/{process.process.pid}/fd"))
