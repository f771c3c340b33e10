"""Asking the teacher off the path about requests of callers: audits of what a student has served, second askings."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from gateway.captured import Body, CapturedAudit
from gateway.dialects.dialect import Asked
from gateway.extra_calls import ExtraCalls
from gateway.record import Recorder
from gateway.routes import Route
from gateway.whole_reply import NoReply, ask_whole
from ledger.clock import now_us
from ledger.extra_calls import Purpose

# requests to the teacher at a time; above it they are dropped
MOST_OUTSTANDING = {Purpose.AUDIT: 32, Purpose.SECOND: 4}


class AuditDrop(StrEnum):
    """Why an audit or a second asking that was drawn got no answer."""

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
    share: float = 1.0  # probability with which it was drawn, where its exchange does not tell


class Audits:
    """Extra calls of one purpose; lives in the event loop."""

    def __init__(
        self,
        purpose: Purpose,
        recorder: Recorder,
        body_limit: int,
        extra_calls: ExtraCalls,
        on_drop: Callable[[str], None],
    ) -> None:
        self._purpose, self._recorder, self._body_limit = purpose, recorder, body_limit
        self._extra_calls, self._on_drop = extra_calls, on_drop
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, request: AuditRequest) -> None:
        """Ask the teacher, unless too many are being asked already."""
        if len(self._tasks) >= MOST_OUTSTANDING[self._purpose]:
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
        refusal = await self._extra_calls.take(request.route.task, self._purpose)
        if refusal is not None:
            self._on_drop(refusal)
            return
        reply = await ask_whole(
            request.route.upstream,
            (request.method, request.target, request.headers, request.body),
            self._body_limit,
        )
        if isinstance(reply, NoReply):
            self._on_drop(reply)
            return
        answer = CapturedAudit(
            request.sequence,
            request.route,
            request.asked,
            Body(reply.body),
            reply.encoding,
            now_us(),
            reply.latency_us,
            self._purpose,
            request.share,
        )
        if not self._recorder.put_audit(answer):
            self._on_drop(AuditDrop.RECORD_QUEUE_FULL)
