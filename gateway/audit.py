"""Audits: the teacher is asked off the path about a drawn share of what the student has served."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from gateway.captured import Body, CapturedAudit
from gateway.dialects.dialect import Asked
from gateway.extra_calls import ExtraCalls
from gateway.headers import header
from gateway.record import Recorder
from gateway.routes import Route
from gateway.upstream import Failure, Response, ask_teacher
from ledger.clock import now_us
from ledger.exchange import Outcome
from ledger.extra_calls import Purpose

MAX_OUTSTANDING = 32  # requests to the teacher at a time; above it audits are dropped


class AuditDrop(StrEnum):
    """Why an audit that was drawn got no answer."""

    TOO_MANY = "too_many"
    DAILY_CEILING = "daily_ceiling"  # extra_calls.per_day is used up
    UNCOUNTED = "uncounted"  # the day's count of extra calls cannot be written
    UPSTREAM_UNREACHABLE = "upstream_unreachable"
    UPSTREAM_TIMEOUT = "upstream_timeout"
    TEACHER_ERROR = "teacher_error"  # a status other than 2xx, or a body that broke off or is too large
    RECORD_QUEUE_FULL = "record_queue_full"
    UNREADABLE = "unreadable"  # the dialect cannot read the teacher's answer
    SHUTDOWN = "shutdown"


@dataclass(frozen=True, slots=True)
class AuditRequest:
    """What the caller had asked, with its credentials: kept in memory until the teacher has answered."""

    sequence: int
    route: Route
    asked: Asked
    method: str
    target: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes


class Audits:
    """Lives in the event loop."""

    def __init__(
        self,
        recorder: Recorder,
        body_limit: int,
        extra_calls: ExtraCalls,
        on_drop: Callable[[str], None],
    ) -> None:
        self._recorder, self._body_limit = recorder, body_limit
        self._extra_calls, self._on_drop = extra_calls, on_drop
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, request: AuditRequest) -> None:
        """Ask the teacher, unless too many are being asked already."""
        if len(self._tasks) >= MAX_OUTSTANDING:
            self._on_drop(AuditDrop.TOO_MANY)
            return
        task = asyncio.create_task(self._audit(request))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self, seconds: float) -> None:
        """Let running audits end, for so long."""
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=seconds)
            for task in late:
                self._on_drop(AuditDrop.SHUTDOWN)
                task.cancel()

    async def _audit(self, request: AuditRequest) -> None:
        refusal = await self._extra_calls.take(request.route.task, Purpose.AUDIT)
        if refusal is not None:
            self._on_drop(refusal)
            return
        started = time.perf_counter_ns()
        response = await ask_teacher(
            request.route.upstream, request.method, request.target, request.headers, request.body
        )
        if isinstance(response, Failure):
            self._on_drop(response.outcome)
            return
        body = await self._read(response)
        if body is None or not 200 <= response.status < 300:
            self._on_drop(AuditDrop.TEACHER_ERROR)
            return
        encoding = (header(response.headers, b"content-encoding") or b"").decode("latin-1")
        latency_us = (time.perf_counter_ns() - started) // 1000
        answer = CapturedAudit(
            request.sequence, request.route, request.asked, Body(body), encoding, now_us(), latency_us
        )
        if not self._recorder.put_audit(answer):
            self._on_drop(AuditDrop.RECORD_QUEUE_FULL)

    async def _read(self, response: Response) -> bytes | None:
        """The whole body, or None if it broke off or is larger than what is kept."""
        chunks, size = [], 0
        while not response.at_end:
            chunk = await response.next_chunk()
            if isinstance(chunk, Outcome):
                return None
            size += len(chunk)
            if size > self._body_limit:
                response.close()
                return None
            chunks.append(chunk)
        return b"".join(chunks)
