"""The connections to one teacher: bounded, used again while they are young, last in first out.

A slot is a connection that is open or being opened. It ends in one of three ways: its user settles it (back to
the idle ones, or on to who waits), its user discards it, or it is lost while idle. Deadlines are looked at by one
sweep for all connections, which runs while there are any: a timer for each request would cost more than it is
worth.
"""

import asyncio
import logging
import ssl
from collections import Counter, deque
from collections.abc import Collection, Mapping

from gateway.upstream.breaker import Breaker
from gateway.upstream.connection import Connection
from gateway.upstream.failures import UpstreamOutcome
from gateway.upstream.settings import Settings, settings_of
from ledger.configuration import TeacherSection

IDLE_SECONDS = 4.0  # below the five seconds after which many servers close an idle connection
SWEEP_SECONDS = 0.1  # how late a deadline may be noticed

log = logging.getLogger(__name__)


class Pool:
    """Lives in the event loop."""

    def __init__(self, section: TeacherSection) -> None:
        self.url = section.url
        self.settings: Settings = settings_of(section)
        self.breaker = Breaker(section.breaker_failures, section.breaker_seconds)
        self.outcomes: Counter[UpstreamOutcome] = Counter()
        self.slots = 0
        self._idle: list[Connection] = []
        self._busy: set[Connection] = set()
        self._waiters: deque[asyncio.Future[Connection | None]] = deque()
        self._loop = asyncio.get_running_loop()
        self._sweeping: asyncio.TimerHandle | None = None
        self._closed = False

    @property
    def idle(self) -> int:
        return len(self._idle)

    def close(self) -> None:
        """Idle connections end now, the others with their requests."""
        self._closed = True
        while self._idle:
            self._drop_idle(self._idle[-1])

    def idle_connection(self) -> Connection | None:
        """The one that was used last, if it can still be used."""
        while self._idle:
            connection = self._idle.pop()
            if connection.is_alive():
                self._busy.add(connection)
                return connection
            connection.abort()
            self._free_slot()
        return None

    async def connection(self, fresh: bool = False) -> Connection | UpstreamOutcome:
        """An idle one, or a new one within the limit; who waits longer than it may gets POOL_WAIT."""
        if not fresh and (connection := self.idle_connection()) is not None:
            return connection
        if self.slots >= self.settings.max_connections:
            got = await self._wait()
            if got is not None:
                return got
        else:
            self.slots += 1
        return await self._open_in_slot()

    def settle(self, connection: Connection) -> None:
        """The response has been read to its end."""
        self._busy.discard(connection)
        if not connection.settle() or self._closed:
            connection.abort()
            self._free_slot()
            return
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                self._busy.add(connection)
                waiter.set_result(connection)
                return
        self._idle.append(connection)

    def discard(self, connection: Connection) -> None:
        """Cut it: its response is not wanted, or no good."""
        self._busy.discard(connection)
        connection.abort()
        self._free_slot()

    # --- opening -----------------------------------------------------------------------------------------------

    async def _wait(self) -> Connection | UpstreamOutcome | None:
        """A connection, or None with the slot of one that has ended."""
        waiter: asyncio.Future[Connection | None] = self._loop.create_future()
        self._waiters.append(waiter)
        try:
            async with asyncio.timeout(self.settings.pool_wait_seconds):
                return await waiter
        except TimeoutError:
            self._give_up(waiter)
            return UpstreamOutcome.POOL_WAIT
        except asyncio.CancelledError:
            self._give_up(waiter)
            raise

    def _give_up(self, waiter: "asyncio.Future[Connection | None]") -> None:
        """What was handed over in the same moment goes back."""
        if waiter in self._waiters:
            self._waiters.remove(waiter)
        elif waiter.done() and not waiter.cancelled():
            connection = waiter.result()
            if connection is None:
                self._free_slot()
            else:
                self.settle(connection)

    async def _open_in_slot(self) -> Connection | UpstreamOutcome:
        tried = self.breaker.attempt(self._loop.time())
        if tried is None:
            self._free_slot()
            return UpstreamOutcome.BREAKER_OPEN
        self.breaker = tried
        connection = Connection(self.settings, self._idle_lost)
        try:
            problem = await self._connect(connection)
        except BaseException:
            self.discard(connection)
            raise
        if problem is not None:
            self.discard(connection)
            return problem
        self._report(self.breaker.connected(), "")
        self._busy.add(connection)
        self._sweeping = self._sweeping or self._loop.call_later(SWEEP_SECONDS, self._sweep)
        return connection

    async def _connect(self, connection: Connection) -> UpstreamOutcome | None:
        settings = self.settings
        try:
            async with asyncio.timeout(settings.connect_seconds):
                await self._loop.create_connection(
                    lambda: connection,
                    settings.host,
                    settings.port,
                    ssl=settings.tls,
                    server_hostname=settings.host if settings.tls else None,
                )
            return None
        except TimeoutError:
            return self._failed(
                UpstreamOutcome.CONNECT_TIMEOUT, f"no connection in {settings.connect_seconds:g} s"
            )
        except ssl.SSLCertVerificationError as error:
            return self._failed(UpstreamOutcome.CERTIFICATE, f"its certificate: {error.verify_message}")
        except ssl.SSLError as error:
            return self._failed(UpstreamOutcome.CERTIFICATE, f"TLS: {error.reason}")
        except OSError as error:
            return self._failed(UpstreamOutcome.UNREACHABLE, error.strerror or str(error))

    def _failed(self, outcome: UpstreamOutcome, reason: str) -> UpstreamOutcome:
        self._report(self.breaker.failed(self._loop.time()), reason)
        return outcome

    def _report(self, breaker: Breaker, reason: str) -> None:
        """Say once when connections begin to fail, once when it opens, and once when it closes."""
        if breaker.failures == 1:
            log.warning("The teacher %s cannot be reached: %s. action=connect_failed", self.url, reason)
        if breaker.is_open and not self.breaker.is_open:
            log.warning(
                "The teacher %s still cannot be reached: %s. It is tried every %g s. action=breaker_open",
                self.url,
                reason,
                breaker.seconds,
            )
        elif self.breaker.is_open and not breaker.is_open:
            log.info("The teacher %s is reached again. action=breaker_closed", self.url)
        self.breaker = breaker

    # --- ending ------------------------------------------------------------------------------------------------

    def _free_slot(self) -> None:
        """To who waits for one, or to nobody."""
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
        self.slots -= 1

    def _idle_lost(self, connection: Connection) -> None:
        if connection in self._idle:
            self._idle.remove(connection)
            self._free_slot()

    def _drop_idle(self, connection: Connection) -> None:
        self._idle.remove(connection)
        connection.abort()
        self._free_slot()

    def _sweep(self) -> None:
        now = self._loop.time()
        for connection in [late for late in self._busy if now > late.deadline or now > late.last_moment]:
            connection.time_out()
        while self._idle and now - self._idle[0].idle_since > IDLE_SECONDS:
            self._drop_idle(self._idle[0])
        at_work = self._busy or self._idle
        self._sweeping = self._loop.call_later(SWEEP_SECONDS, self._sweep) if at_work else None


class Pools:
    """One pool for each different teacher section, so that tasks that share a teacher share its limits."""

    def __init__(self) -> None:
        self._pools: dict[TeacherSection, Pool] = {}

    def of(self, section: TeacherSection) -> Pool:
        """To be called in the event loop. Raises UpstreamUnusable."""
        if section not in self._pools:
            self._pools[section] = Pool(section)
        return self._pools[section]

    def read_again(self) -> Mapping[TeacherSection, Settings]:
        """Certificates and credentials may have new contents; `take` puts them to use. Raises UpstreamUnusable."""
        return {section: settings_of(section) for section in self._pools}

    def take(self, settings: Mapping[TeacherSection, Settings]) -> None:
        for section, pool in self._pools.items():
            pool.settings = settings[section]

    def keep(self, sections: Collection[TeacherSection]) -> None:
        """Let go of the pools of teachers that are configured no more; their requests in flight end as usual."""
        for section in [section for section in self._pools if section not in sections]:
            self._pools.pop(section).close()

    def all(self) -> list[Pool]:
        return list(self._pools.values())

    def close(self) -> None:
        for pool in self._pools.values():
            pool.close()
