"""Asking the teacher: one request, its response chunk by chunk, and what may be asked a second time.

A request is sent a second time in one case only: its method is safe (RFC 9110, section 9.2.1), it went out on a
connection that had carried another one before, and that ended before a byte of the response. That is how a
server ends idle connections. A POST is never sent twice; it gets a second connection only where the first one
ended before anything was written to it.
"""

from collections.abc import Sequence

from gateway.upstream.connection import Connection
from gateway.upstream.failures import FAILURES, Failure, UpstreamOutcome
from gateway.upstream.pool import Pool
from ledger.exchange import Outcome

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_WITH_CONTENT = frozenset({"POST", "PUT", "PATCH"})  # they say Content-Length: 0, too (RFC 9110, section 8.6)


class Response:
    """The head has come. Read `next_chunk` to its end, or `close`."""

    __slots__ = ("_connection", "_pool", "headers", "status")

    def __init__(self, pool: Pool, connection: Connection) -> None:
        self._pool = pool
        self._connection: Connection | None = connection
        self.status, self.headers = connection.reader.status, connection.reader.headers

    @property
    def at_end(self) -> bool:
        """Whether the last chunk has been read."""
        return self._connection is None

    @property
    def ready(self) -> bool:
        """Whether `next_chunk` returns without waiting."""
        connection = self._connection
        return connection is None or bool(connection.reader.buffered or connection.reader.ended)

    async def next_chunk(self) -> bytes | Outcome:
        """The bytes that have arrived, b"" at the end, or how the response broke off."""
        connection = self._connection
        if connection is None:
            return b""
        try:
            chunk = await connection.next_chunk()
        except BaseException:
            self._cut(connection, UpstreamOutcome.ABANDONED)
            raise
        if chunk is None:
            self._cut(connection, UpstreamOutcome.TRUNCATED)
            return Outcome.UPSTREAM_TRUNCATED
        if connection.reader.ended and not connection.reader.buffered:
            self._connection = None
            self._pool.outcomes[UpstreamOutcome.COMPLETE] += 1
            self._pool.settle(connection)
        return chunk

    def close(self) -> None:
        """Cut the connection unless the response has been read to its end."""
        if self._connection is not None:
            self._cut(self._connection, UpstreamOutcome.ABANDONED)

    def _cut(self, connection: Connection, outcome: UpstreamOutcome) -> None:
        self._connection = None
        self._pool.outcomes[outcome] += 1
        self._pool.discard(connection)


async def ask_teacher(
    pool: Pool, method: str, target: bytes, headers: Sequence[tuple[bytes, bytes]], body: bytes
) -> Response | Failure:
    """Send one request and wait for the head of its response."""
    head = _request_head(pool, method, target, headers, body)
    connection = pool.idle_connection() or await pool.connection()
    answer = await _ask_on(pool, connection, head, body, method)
    if isinstance(answer, Response):
        return answer
    if answer is UpstreamOutcome.CLOSED and _may_repeat(connection, method):
        connection = await pool.connection(fresh=True)
        answer = await _ask_on(pool, connection, head, body, method)
        if isinstance(answer, Response):
            return answer
    pool.outcomes[answer] += 1
    return FAILURES[answer]


async def _ask_on(
    pool: Pool, connection: Connection | UpstreamOutcome, head: bytes, body: bytes, method: str
) -> Response | UpstreamOutcome:
    if isinstance(connection, UpstreamOutcome):
        return connection
    try:
        problem = await connection.ask(head, body, method == "HEAD")
    except BaseException:
        pool.outcomes[UpstreamOutcome.ABANDONED] += 1
        pool.discard(connection)
        raise
    if problem is None:
        return Response(pool, connection)
    pool.discard(connection)
    return problem


def _may_repeat(connection: Connection | UpstreamOutcome, method: str) -> bool:
    if not isinstance(connection, Connection) or connection.reader.started:
        return False
    return not connection.written or (method in SAFE_METHODS and connection.used)


def _request_head(
    pool: Pool, method: str, target: bytes, headers: Sequence[tuple[bytes, bytes]], body: bytes
) -> bytes:
    settings = pool.settings
    if settings.withheld:
        kept = [field for field in headers if field[0] not in settings.withheld]
        headers = [*kept, *settings.credentials]
    lines = [b"%b %b HTTP/1.1\r\nhost: %b" % (method.encode(), target, settings.host_field)]
    lines += [b"%b: %b" % field for field in headers]
    if body or method in _WITH_CONTENT:
        lines.append(b"content-length: %d" % len(body))
    lines.append(b"\r\n")
    return b"\r\n".join(lines)
