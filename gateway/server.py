"""The data plane's listening side: sockets bound before anything else is touched, every connection under one
coarse timer, and an end that lets requests finish."""

import asyncio
import socket
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from email.utils import formatdate
from ipaddress import IPv4Network, IPv6Network, ip_address

from gateway.asgi import Receive, Scope, Send
from gateway.connection import Connection
from gateway.http_head import HeadLimits
from gateway.tls import Certificate
from ledger.configuration import GatewaySection

BACKLOG = 2048
TICK_SECONDS = 0.25  # deadlines are noticed that late at most

Application = Callable[[Scope, Receive, Send], Awaitable[None]]
Networks = tuple[IPv4Network | IPv6Network, ...]


class AddressTaken(Exception):
    """The address cannot be listened on."""

    def __init__(self, setting: str, address: str, error: OSError) -> None:
        super().__init__(
            f"{setting} = {address!r} cannot be listened on: {error.strerror or error}."
            f" Stop what listens there, or set another {setting}."
        )


@dataclass(frozen=True, slots=True)
class Limits:
    """What a caller may ask of the server; docs/limits.md says what it sees beyond them."""

    head: HeadLimits
    body_bytes: int
    chunk_extension_bytes: int  # in one body
    connections: int
    first_byte_seconds: float
    head_seconds: float
    body_grace_seconds: float
    body_bytes_per_second: int
    keep_alive_seconds: float
    send_seconds: float


def limits_of(section: GatewaySection) -> Limits:
    return Limits(
        HeadLimits(section.max_request_line_bytes, section.max_head_bytes, section.max_head_fields),
        section.max_body_bytes,
        section.max_chunk_extension_bytes,
        section.max_connections,
        section.first_byte_seconds,
        section.head_seconds,
        section.body_grace_seconds,
        section.min_body_bytes_per_second,
        section.keep_alive_seconds,
        section.send_seconds,
    )


class Server:
    """Serves one ASGI application on one socket: start, drain."""

    def __init__(
        self, app: Application, limits: Limits, proxies: Networks = (), certificate: Certificate | None = None
    ) -> None:
        self.app = app
        self.obey(limits, proxies)
        self.refused: Counter[str] = Counter()  # requests that never reached the application, by reason
        self.now = 0.0  # the loop's time at the last tick
        self.date_line = b""
        self._tls = certificate.context if certificate is not None else None
        self._connections: set[Connection] = set()

    def obey(self, limits: Limits, proxies: Networks) -> None:
        """What everything that comes from now on is held to; a connection stays trusted or not as it began."""
        self.limits, self._proxies = limits, proxies

    async def start(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        self._tick()
        handshake_seconds = self.limits.first_byte_seconds if self._tls else None
        self._listening = await loop.create_server(
            lambda: Connection(self),
            sock=listener,
            ssl=self._tls,
            backlog=BACKLOG,
            ssl_handshake_timeout=handshake_seconds,
        )

    async def drain(self, seconds: float) -> None:
        """Accept nothing more, give requests that are under way so long, then cut them."""
        self._listening.close()
        for connection in tuple(self._connections):
            connection.drain()
        await self._until_idle(seconds)
        for connection in tuple(self._connections):
            connection.cut()
        self._timer.cancel()

    async def _until_idle(self, seconds: float) -> None:
        give_up_at = time.monotonic() + seconds
        while self._connections and time.monotonic() < give_up_at:
            await asyncio.sleep(0.02)

    def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        self.now = loop.time()
        self.date_line = b"date: %b\r\n" % formatdate(usegmt=True).encode()
        for connection in tuple(self._connections):
            connection.look(self.now)
        self._timer = loop.call_later(TICK_SECONDS, self._tick)

    # --- what connections ask ---------------------------------------------------------------------------------

    def admit(self, connection: Connection) -> int:
        """Count a new connection; how many there are above the limit."""
        self._connections.add(connection)
        return len(self._connections) - self.limits.connections

    def forget(self, connection: Connection) -> None:
        self._connections.discard(connection)

    def trusts(self, address: str) -> bool:
        return bool(self._proxies) and any(ip_address(address) in network for network in self._proxies)

    def count_refused(self, reason: str) -> None:
        self.refused[reason] += 1


def bind(setting: str, address: str) -> socket.socket:
    """A socket bound to host:port. Raises AddressTaken."""
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, int(port)))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise AddressTaken(setting, address, error) from error
    return listener
