"""A thread that does one call after another and reports each to the event loop.

An executor would add a future and a task to every call, which costs more than a small batch.
"""

import asyncio
import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import TypeVar

T = TypeVar("T")

log = logging.getLogger(__name__)


class Worker:
    """Belongs to the event loop in which it is made."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.get_running_loop()
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def do(self, call: Callable[[], T], then: Callable[[T], None], failed: Callable[[], None]) -> None:
        """`then` gets what the call returned, `failed` follows an exception; both run in the event loop."""

        def work() -> None:
            try:
                outcome = call()
            except Exception:  # the thread must outlive any surprise
                log.exception("A call in the thread %s failed. action=worker_failed", self._thread.name)
                self._report(failed)
            else:
                self._report(lambda: then(outcome))

        self._calls.put(work)

    async def stop(self, seconds: float) -> bool:
        """Whether the call in hand ended within so many seconds; what it reports is lost."""
        self._calls.put(None)
        await asyncio.to_thread(self._thread.join, seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while (work := self._calls.get()) is not None:
            work()

    def _report(self, callback: Callable[[], None]) -> None:
        with suppress(RuntimeError):  # the loop has closed meanwhile
            self._loop.call_soon_threadsafe(callback)
