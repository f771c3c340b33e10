"""Asking the teacher off every caller's path: its reply as a whole, or why there is none."""

import time
from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

from gateway.headers import RawHeaders, header
from gateway.upstream import Failure, Pool, Response, ask_teacher
from ledger.exchange import Outcome

Asking = tuple[str, bytes, Sequence[tuple[bytes, bytes]], bytes]  # method, target, header fields, body


class NoReply(StrEnum):
    """Why there is none."""

    UPSTREAM_UNREACHABLE = "upstream_unreachable"
    UPSTREAM_TIMEOUT = "upstream_timeout"
    TEACHER_ERROR = "teacher_error"  # a status other than 2xx, or a body that broke off or is too large


class WholeReply(NamedTuple):
    """A successful reply."""

    headers: RawHeaders
    body: bytes
    encoding: str  # its content coding
    latency_us: int


async def ask_whole(pool: Pool, asking: Asking, body_limit: int) -> WholeReply | NoReply:
    """One request; `body_limit` is in bytes of the reply."""
    started = time.perf_counter_ns()
    response = await ask_teacher(pool, *asking)
    if isinstance(response, Failure):
        timed_out = response.outcome is Outcome.UPSTREAM_TIMEOUT
        return NoReply.UPSTREAM_TIMEOUT if timed_out else NoReply.UPSTREAM_UNREACHABLE
    body = await _read(response, body_limit)
    if body is None or not 200 <= response.status < 300:
        return NoReply.TEACHER_ERROR
    encoding = (header(response.headers, b"content-encoding") or b"").decode("latin-1")
    return WholeReply(response.headers, body, encoding, (time.perf_counter_ns() - started) // 1000)


async def _read(response: Response, limit: int) -> bytes | None:
    """The whole body, or None if it broke off or is larger than that."""
    chunks, size = [], 0
    while not response.at_end:
        chunk = await response.next_chunk()
        if isinstance(chunk, Outcome):
            return None
        size += len(chunk)
        if size > limit:
            response.close()
            return None
        chunks.append(chunk)
    return b"".join(chunks)
