"""Noticing that a caller has gone away, at any time between its request and the end of the response."""

import asyncio
from collections.abc import Callable

from gateway.guard import Receive

# Most responses end sooner and never pay for a task; a caller who leaves is noticed within the second promised.
WATCH_AFTER_SECONDS = 0.25


class DisconnectWatch:
    """Calls back once if the caller disconnects before `stop`.

    To be made when the request body has been read: from then on nobody else may call receive().
    """

    __slots__ = ("_on_gone", "_receive", "_task", "_timer")

    def __init__(self, receive: Receive, on_gone: Callable[[], None]) -> None:
        self._receive, self._on_gone = receive, on_gone
        self._task: asyncio.Task[None] | None = None
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(WATCH_AFTER_SECONDS, self._start)

    def stop(self) -> None:
        self._timer.cancel()
        if self._task is not None:
            self._task.cancel()

    def _start(self) -> None:
        self._task = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._on_gone()
