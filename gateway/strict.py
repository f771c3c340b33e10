"""Durability "strict": the end of a response leaves only when its exchange is on the disk.

Nothing leaves before the first chunk, so that a reply of one piece whose exchange cannot be written becomes a 503.
Of a longer one the last chunk is held back: if its exchange cannot be written the response is cut, and a caller
never takes it for a whole one. While the file cannot be written at all, requests are refused before the teacher
is asked.
"""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from gateway.asgi import Send
from gateway.guard import Refused
from gateway.writer import Committed

WAIT_SECONDS = (
    5.0  # for the commit; after it the response is refused or cut, and the exchange may be written yet
)
NOT_RECORDED = Refused(
    503,
    "not_recorded",
    'The exchange could not be recorded, and gateway.durability = "strict" answers nothing that is not; try again.',
    ((b"retry-after", b"1"),),
)


class ResponseWithheld(Exception):
    """The exchange could not be written after a part of the response had left: the connection is closed."""


class Commits:
    """Which exchanges somebody waits for. Lives in the event loop."""

    def __init__(self) -> None:
        self._waiting: dict[int, asyncio.Future[None]] = {}

    def told(self, committed: Committed) -> None:
        """A group is on the disk."""
        if self._waiting:
            for built in committed.built:
                future = self._waiting.get(built.exchange.sequence)
                if future is not None and not future.done():
                    future.set_result(None)

    async def of(self, sequence: int) -> bool:
        """Wait until the exchange is on the disk; False after WAIT_SECONDS."""
        future = self._waiting[sequence] = asyncio.get_running_loop().create_future()
        try:
            await asyncio.wait_for(future, WAIT_SECONDS)
        except TimeoutError:
            return False
        finally:
            del self._waiting[sequence]
        return True


def withholding(
    send: Send, record: Callable[[], Awaitable[bool]], refuse: Callable[[], Awaitable[None]]
) -> Send:
    """A send that lets the last message pass only after `record` (awaited) said True.

    With nothing sent yet, `refuse` (awaited) answers instead; otherwise ResponseWithheld is raised.
    """
    head: MutableMapping[str, Any] = {}
    started = False

    async def withheld(message: MutableMapping[str, Any]) -> None:
        nonlocal head, started
        if message["type"] == "http.response.start":
            head = message
            return
        last = not message.get("more_body", False)
        if last and not await record():
            if started:
                raise ResponseWithheld
            await refuse()
            return
        if not started:
            started = True
            await send(head)
        await send(message)

    return withheld
