"""Audits: the teacher is asked off the path about a drawn share of what the student has served."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

import aiohttp

from gateway.captured import Body, CapturedAudit
from gateway.dialects.dialect import Asked
from gateway.record import Recorder
from gateway.routes import Route
from gateway.teacher import Failure, ask_teacher, next_chunk
from ledger.clock import now_us

MAX_OUTSTANDING = 32  # requests to the teacher at a time; above it audits are dropped


@dataclass(frozen=True, slots=True)
class AuditRequest:
    """What the caller had asked, with its credentials: kept in memory until the teacher has answered."""

    sequence: int
    route: Route
    asked: Asked
    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes


class Audits:
    """Lives in the event loop."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        recorder: Recorder,
        body_limit: int,
        on_drop: Callable[[str], None],
    ) -> None:
        self._session, self._recorder, self._body_limit = session, recorder, body_limit
        self._on_drop = on_drop
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, request: AuditRequest) -> None:
        """Ask the teacher, unless too many are being asked already."""
        if len(self._tasks) >= MAX_OUTSTANDING:
            self._on_drop("too_many")
            return
        task = asyncio.create_task(self._audit(request))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self, seconds: float) -> None:
        """Let running audits end, for so long."""
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=seconds)
            for task in late:
                self._on_drop("shutdown")
                task.cancel()

    async def _audit(self, request: AuditRequest) -> None:
        started = time.perf_counter_ns()
        response = await ask_teacher(
            self._session,
            request.route.upstream,
            request.method,
            request.target,
            request.headers,
            request.body,
        )
        if isinstance(response, Failure):
            self._on_drop(response.outcome)
            return
        async with response:
            body = await self._read(response)
        if body is None or not 200 <= response.status < 300:
            self._on_drop("teacher_error")
            return
        encoding = response.headers.get("content-encoding", "")
        latency_us = (time.perf_counter_ns() - started) // 1000
        answer = CapturedAudit(
            request.sequence, request.route, request.asked, Body(body), encoding, now_us(), latency_us
        )
        if not self._recorder.put_late(answer):
            self._on_drop("record_queue_full")

    async def _read(self, response: aiohttp.ClientResponse) -> bytes | None:
        """The whole body, or None if it broke off or is larger than what is kept."""
        body = b""
        while not response.content.at_eof():
            chunk = await next_chunk(response)
            if not isinstance(chunk, bytes) or len(body) + len(chunk) > self._body_limit:
                return None
            body += chunk
        return body
