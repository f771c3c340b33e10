"""A pool towards an EvilPeer, in an event loop as production has it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import uvloop

from gateway.upstream import Failure, Pool, UpstreamOutcome, ask_teacher
from ledger.configuration import TeacherSection
from ledger.exchange import Outcome
from tests.evil_peer import EvilPeer

PATIENCE_SECONDS = 20.0
Answer = tuple[int, bytes] | UpstreamOutcome | Outcome


def run(main: Callable[[], Awaitable[None]]) -> None:
    """On uvloop; no task of ours may be left when it ends."""

    async def alone() -> None:
        await main()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(alone())


@asynccontextmanager
async def pool_for(peer: EvilPeer, **changes: Any) -> AsyncIterator[Pool]:
    """Leaving it checks that every slot was given back."""
    settings = {"first_byte_seconds": PATIENCE_SECONDS, "idle_seconds": PATIENCE_SECONDS, **changes}
    pool = Pool(TeacherSection(url=peer.url, version="1", **settings))
    try:
        yield pool
        assert pool.slots == pool.idle
    finally:
        pool.close()
    assert pool.slots == 0
    await until(lambda: not peer.open_connections)


async def ask(pool: Pool, method: str = "POST", target: str = "/", body: bytes = b"{}") -> Answer:
    """Status and body, or how it failed."""
    response = await ask_teacher(pool, method, target.encode(), [], body if method == "POST" else b"")
    if isinstance(response, Failure):
        return response.upstream
    received = b""
    try:
        while not response.at_end:
            chunk = await response.next_chunk()
            if isinstance(chunk, Outcome):
                return chunk
            received += chunk
    finally:
        response.close()
    return response.status, received


async def until(condition: Callable[[], bool], seconds: float = PATIENCE_SECONDS) -> None:
    deadline = asyncio.get_running_loop().time() + seconds
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, "the condition did not come true in time"
        await asyncio.sleep(0.01)
