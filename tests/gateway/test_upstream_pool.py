"""Connections to the teacher: used again, bounded, given back whatever happens, and never a request too many."""

import asyncio
import random
from collections.abc import Iterator

import pytest

from gateway.upstream import Failure, UpstreamOutcome, ask_teacher
from gateway.upstream.connection import HIGH_WATER_BYTES, Connection
from ledger.exchange import Outcome
from tests.evil_bytes import OK
from tests.evil_peer import (
    Close,
    EvilPeer,
    Script,
    Send,
    Stall,
    Wait,
    answer,
    answer_twice,
    closes_silently,
    evil_peer,
    interim_first,
    late,
    limited,
    malformed,
    resets,
    sliced,
    stalled,
    trailers,
)
from tests.gateway.running import wait_until
from tests.gateway.upstreams import ask, pool_for, run, until

GOOD = (200, b"ok")


@pytest.fixture
def peer() -> Iterator[EvilPeer]:
    with evil_peer() as peer:
        yield peer
        assert not peer.violations


def test_one_connection_carries_request_after_request(peer: EvilPeer) -> None:
    """Fifty requests, one connection."""

    async def main() -> None:
        async with pool_for(peer) as pool:
            assert [await ask(pool) for _ in range(50)] == [GOOD] * 50
            assert (len(peer.connections), pool.outcomes[UpstreamOutcome.COMPLETE]) == (1, 50)

    run(main)


def test_the_connection_used_last_is_used_next(peer: EvilPeer) -> None:
    """So that those of a peak grow old, and end."""
    peer.always = late(answer(), 0.05)

    async def main() -> None:
        async with pool_for(peer) as pool:
            await asyncio.gather(*(ask(pool) for _ in range(4)))
            assert (pool.slots, pool.idle) == (4, 4)
            counts = [len(connection.requests) for connection in peer.connections]
            for _ in range(5):
                await ask(pool)
            more = [
                len(connection.requests) - before
                for connection, before in zip(peer.connections, counts, strict=True)
            ]
            assert sorted(more) == [0, 0, 0, 5]

    run(main)


def test_idle_connections_end(peer: EvilPeer) -> None:
    """Before the five seconds after which common servers close them."""

    async def main() -> None:
        async with pool_for(peer) as pool:
            await ask(pool)
            await until(lambda: not peer.open_connections)
            assert (pool.slots, pool.idle) == (0, 0)
            (connection,) = peer.connections
            assert connection.ended_by == "peer"

    run(main)


def test_no_more_connections_than_allowed(peer: EvilPeer) -> None:
    """Twenty requests at once over two connections: everybody waits for his turn."""
    peer.always = late(answer(), 0.01)

    async def main() -> None:
        async with pool_for(peer, max_connections=2, pool_wait_seconds=20) as pool:
            assert await asyncio.gather(*(ask(pool) for _ in range(20))) == [GOOD] * 20
            assert len(peer.connections) == 2

    run(main)


def test_nothing_is_written_to_a_connection_that_has_ended(peer: EvilPeer) -> None:
    """It ended after it was handed out: that is known before the request is, so even a POST may be sent again."""

    async def main() -> None:
        async with pool_for(peer) as pool:
            connection = await pool.connection()
            assert isinstance(connection, Connection)
            await until(lambda: bool(peer.open_connections))
            peer.drop_connections()
            await until(connection._transport.is_closing)
            assert (
                await connection.ask(b"POST / HTTP/1.1\r\nhost: a\r\n\r\n", b"", False)
                is UpstreamOutcome.CLOSED
            )
            assert not connection.written
            pool.discard(connection)

    run(main)


def test_waiting_for_a_connection_is_bounded(peer: EvilPeer) -> None:
    """Who waits too long gets 503, and the next one is served as soon as there is a connection."""
    peer.then(stalled(answer()))

    async def main() -> None:
        async with pool_for(peer, max_connections=1, pool_wait_seconds=0.05) as pool:
            hanging = asyncio.create_task(ask(pool))
            await until(lambda: len(peer.requests) == 1)
            refused = await ask_teacher(pool, "GET", b"/", [], b"")
            assert isinstance(refused, Failure)
            assert (refused.upstream, refused.refused.status) == (UpstreamOutcome.POOL_WAIT, 503)
            hanging.cancel()
            await asyncio.wait([hanging])
            assert await ask(pool) == GOOD

    run(main)


@pytest.mark.parametrize("reset", [False, True])
def test_stale_connection_is_not_used_for_a_post(peer: EvilPeer, reset: bool) -> None:
    """The teacher closed an idle connection, and the event loop had no time to notice: no 502."""

    async def main() -> None:
        async with pool_for(peer) as pool:
            await ask(pool)
            peer.drop_connections(reset)
            wait_until(lambda: not peer.open_connections)  # this, too, blocks the loop
            assert await ask(pool) == GOOD
            assert len(peer.requests) == 2

    run(main)


@pytest.mark.parametrize("ending", [closes_silently(), resets()], ids=["closed", "reset"])
@pytest.mark.parametrize(
    ("method", "answered", "sent"),
    [("GET", GOOD, 2), ("HEAD", (200, b""), 2), ("POST", UpstreamOutcome.CLOSED, 1)],
)
def test_repeated_on_a_used_connection(
    peer: EvilPeer, method: str, answered: object, sent: int, ending: Script
) -> None:
    """A used connection that ends instead of answering: GET and HEAD are sent once more, a POST is not."""

    async def main() -> None:
        async with pool_for(peer) as pool:
            await ask(pool)
            peer.then(ending, answer(b"" if method == "HEAD" else b"ok"))
            assert await ask(pool, method) == answered
            assert len(peer.requests) == 1 + sent
            assert await ask(pool) == GOOD

    peer.then(answer())
    run(main)


def test_repeated_once_at_most_and_not_on_a_new_connection(peer: EvilPeer) -> None:
    """Two tries on a used connection, one on a new one."""
    peer.always = closes_silently()

    async def main() -> None:
        async with pool_for(peer) as pool:
            assert await ask(pool, "GET") is UpstreamOutcome.CLOSED
            assert len(peer.requests) == 1
            peer.then(answer())
            assert await ask(pool, "GET") == GOOD
            assert await ask(pool, "GET") is UpstreamOutcome.CLOSED
            assert len(peer.requests) == 4

    run(main)


def test_not_repeated_after_a_byte_of_the_response(peer: EvilPeer) -> None:
    """Something was answered: nobody knows what was done."""

    async def main() -> None:
        async with pool_for(peer) as pool:
            await ask(pool)
            peer.then(limited(answer(), 5))
            assert await ask(pool, "GET") is UpstreamOutcome.CLOSED
            assert len(peer.requests) == 2

    run(main)


ENDINGS: dict[str, tuple[Script, object]] = {
    "whole": (answer(), GOOD),
    "chunked": (answer(chunked=True), GOOD),
    "no keep-alive": (answer(keep_alive=False), GOOD),
    "until close": ((Send(OK + b"\r\nok"), Close()), GOOD),
    "sliced": (sliced(answer()), GOOD),
    "sliced chunks": (sliced(trailers()), GOOD),
    "interim first": (interim_first(answer(), 3), GOOD),
    "interim earlier": (interim_first(answer(), apart=0.05), GOOD),
    "twice": (answer_twice(b"ok"), GOOD),
    "silent": (closes_silently(), UpstreamOutcome.CLOSED),
    "reset": (resets(), UpstreamOutcome.CLOSED),
    "cut in the head": (limited(answer(), 20), UpstreamOutcome.CLOSED),
    "reset in the body": (limited(answer(b"x" * 100), 100, reset=True), None),
    "cut in the body": (limited(answer(b"x" * 100), 100), None),
    "stall before the head": (stalled(answer()), UpstreamOutcome.TIMEOUT),
    "stall in the head": (stalled(answer(), 20), UpstreamOutcome.TIMEOUT),
    "stall in the body": (stalled(answer(b"x" * 100), 100), Outcome.UPSTREAM_TRUNCATED),
    "malformed": (malformed(b"garbage\r\n\r\n", close=False), UpstreamOutcome.MALFORMED),
}


@pytest.mark.parametrize(("script", "expected"), ENDINGS.values(), ids=ENDINGS.keys())
def test_slot_comes_back_however_it_ends(peer: EvilPeer, script: Script, expected: object) -> None:
    """A response of each kind, twelve times over a pool of three: its end is told, and the next ones are good."""
    peer.then(*[script] * 12)

    async def main() -> None:
        seconds = 0.5 if Stall() in script else 20
        settings = {"max_connections": 3, "first_byte_seconds": seconds, "idle_seconds": seconds}
        async with pool_for(peer, **settings) as pool:
            for _ in range(4):
                ends = await asyncio.gather(*(ask(pool) for _ in range(3)))
                assert all(end == expected or (expected is None and end in CUT) for end in ends), ends
            assert [await ask(pool) for _ in range(5)] == [GOOD] * 5
            assert len(peer.open_connections) <= 3
            assert len(peer.requests) == 17

    run(main)


CUT = (Outcome.UPSTREAM_TRUNCATED, UpstreamOutcome.CLOSED)  # as the end came after the head, or with it


def test_bytes_on_an_idle_connection(peer: EvilPeer) -> None:
    """What nobody asked for is no answer to what is asked next: the connection is not used again."""
    peer.then((*answer(), Wait(0.05), *answer(b"unasked")))

    async def main() -> None:
        async with pool_for(peer) as pool:
            assert await ask(pool) == GOOD
            await until(lambda: pool.slots == 0)
            assert await ask(pool) == GOOD

    run(main)


def test_answer_before_the_body_was_sent(peer: EvilPeer) -> None:
    """A teacher that refuses a large body on its head: its answer arrives, and the connection is not used again."""
    peer.reads_bodies = False
    peer.then((*answer(b"too large", 413), Stall()))

    async def main() -> None:
        async with pool_for(peer) as pool:
            assert await ask(pool, body=bytes(50_000_000)) == (413, b"too large")

    run(main)


def test_slow_caller_holds_the_teacher_back(peer: EvilPeer) -> None:
    """Fifty megabytes wait at the teacher, not here, until the caller takes them."""
    size = 50_000_000
    peer.always = answer(bytes(size))

    async def main() -> None:
        async with pool_for(peer, idle_seconds=1) as pool:
            response = await ask_teacher(pool, "GET", b"/", [], b"")
            assert not isinstance(response, Failure)
            first = await response.next_chunk()
            await asyncio.sleep(1.5)  # more than the idle time: a caller's rest is not the teacher's fault
            reader = response._connection.reader if response._connection else None
            assert reader is not None
            assert reader.buffered < HIGH_WATER_BYTES + 2**20
            received = len(first)
            while not response.at_end:
                chunk = await response.next_chunk()
                assert isinstance(chunk, bytes)
                received += len(chunk)
            assert received == size

    run(main)


def test_large_request_arrives_whole(peer: EvilPeer) -> None:
    """Written in pieces, read as one."""
    body = random.Random(5).randbytes(3_000_000)

    async def main() -> None:
        async with pool_for(peer) as pool:
            assert await ask(pool, body=body) == GOOD
            assert peer.requests[0].body == body

    run(main)


@pytest.mark.parametrize("script", [answer(b"x" * 40), trailers(b"x" * 40)], ids=["length", "chunked"])
def test_total_time(peer: EvilPeer, script: Script) -> None:
    """A teacher that is never idle and never ends is cut."""
    peer.always = sliced(script, pause=0.05)

    async def main() -> None:
        async with pool_for(peer, idle_seconds=5, total_seconds=0.5) as pool:
            assert await ask(pool) in (Outcome.UPSTREAM_TRUNCATED, UpstreamOutcome.TIMEOUT)
            await until(lambda: not peer.open_connections)

    run(main)


def test_breaker_opens_and_half_opens(peer: EvilPeer) -> None:
    """Three refused connections, then nobody tries until the time is over; the first success closes it."""
    peer.refuse()

    async def main() -> None:
        async with pool_for(peer, breaker_failures=3, breaker_seconds=0.2) as pool:
            ends = [await ask(pool) for _ in range(5)]
            assert ends[:3] == [UpstreamOutcome.UNREACHABLE] * 3
            assert ends[3:] == [UpstreamOutcome.BREAKER_OPEN] * 2
            assert pool.breaker.is_open
            peer.listen()
            while (end := await ask(pool)) is UpstreamOutcome.BREAKER_OPEN:
                await asyncio.sleep(0.02)
            assert end == GOOD
            assert not pool.breaker.is_open

    run(main)


def test_cancelled_at_any_moment(peer: EvilPeer) -> None:
    """Two thousand requests over a pool of ten, most of them given up at a random moment: then 100 of 100 are
    good, no slot is lost, and no connection stays behind."""
    draw = random.Random(3)
    scripts = [
        late(answer(), 0, 0.01),
        sliced(trailers(b"x" * 50)),
        stalled(answer(b"x" * 100), 100),
        resets(),
    ]
    peer.at["/any"] = answer()

    async def one(pool: object) -> None:
        peer.then(draw.choice(scripts))
        asking = asyncio.create_task(ask(pool, draw.choice(["GET", "POST"]), "/some"))  # type: ignore[arg-type]
        await asyncio.wait([asking], timeout=draw.uniform(0, 0.02))
        asking.cancel()
        await asyncio.wait([asking])

    async def main() -> None:
        async with pool_for(peer, max_connections=10, pool_wait_seconds=0.02) as pool:
            for _ in range(50):
                await asyncio.gather(*(one(pool) for _ in range(40)))
                assert pool.slots <= 10
                assert pool.slots == pool.idle
            peer.forget()
            assert [await ask(pool) for _ in range(100)] == [GOOD] * 100
            await until(lambda: len(peer.open_connections) <= pool.slots)

    run(main)
