"""The data plane: one pure ASGI application that refuses, relays or lets the student serve, and never waits
for anything else."""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from gateway.amending import amended
from gateway.arm import StudentArm
from gateway.asgi import ALONE, CALLER, TARGET, Receive, Scope, Send
from gateway.captured import Body
from gateway.guard import TOO_MANY, UNEXPECTED, Refused, read_body, refusal_of, send_refusal
from gateway.headers import RequestHead, header, read_request_head, reply_headers
from gateway.metrics import Metrics
from gateway.passage import Passage, Request, capture
from gateway.record import Recorder
from gateway.routes import Routes
from gateway.strict import NOT_RECORDED, Commits, ResponseWithheld, withholding
from gateway.upstream import Failure, Response, ask_teacher
from ledger.clock import now_us
from ledger.configuration import GatewaySection
from ledger.exchange import Outcome, ServedBy
from ledger.tally import Drop

if TYPE_CHECKING:  # an extra
    from gateway.tracing import Tracing

log = logging.getLogger(__name__)


class Gateway:
    """The ASGI application; `in_flight` counts requests that have not ended."""

    def __init__(
        self,
        section: GatewaySection,
        routes: Routes,
        arm: StudentArm,
        recorder: Recorder,
        metrics: Metrics,
        tracing: "Tracing | None" = None,
        commits: Commits | None = None,
        answered: Callable[[Passage, Request], None] | None = None,
    ) -> None:
        self.in_flight = 0
        self._soon = asyncio.get_running_loop().call_soon
        self._commits = commits  # where responses wait for them
        self._answered = answered  # told of a request that the teacher has answered, that must not be held up
        self._name, self._pseudonym = section.name, b"stillgate-" + section.name.encode()
        self._arm, self._tracing = arm, tracing
        self.obey(section, routes)
        self._recorder, self._duration, self._overhead = recorder, metrics.duration, metrics.overhead
        self._served, self._outcomes = metrics.served, metrics.outcomes

    def obey(self, section: GatewaySection, routes: Routes) -> None:
        """What the next request is held to."""
        self._max_in_flight = section.max_in_flight
        self._kept_body = section.record_body_bytes
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started_ns, started_at_us = time.perf_counter_ns(), now_us()
        route = self._routes.of(scope["raw_path"])
        passage = Passage(self._name, route, self._recorder.begin(), started_at_us)
        if self._tracing is not None:
            passage.span = self._tracing.begin(scope["method"], passage.route.name, scope["headers"])
        self.in_flight += 1
        try:
            if self._commits is not None:
                if passage.sequence is None or self._recorder.failing:
                    return await self._refuse(passage, send, NOT_RECORDED)
                send = self._withholding(self._commits, passage, send, started_ns)
            await self._answer(passage, scope, receive, send)
        except ResponseWithheld:
            passage.outcome = Outcome.UPSTREAM_TRUNCATED
        except asyncio.CancelledError:
            if not scope[CALLER].gone:  # the process ends before the request did
                passage.lost = True
                raise
            passage.outcome = Outcome.CLIENT_DISCONNECT
        except Exception:
            log.exception("A request failed inside the gateway. action=request_failed")
            await self._fail(passage, send)
        finally:
            self.in_flight -= 1
            self._end(passage, time.perf_counter_ns() - started_ns)

    async def _answer(self, passage: Passage, scope: Scope, receive: Receive, send: Send) -> None:
        head = self._read_head(passage, scope)
        if isinstance(head, Refused):
            return await self._refuse(passage, send, head)
        since = time.perf_counter_ns()
        body = await read_body(receive)
        passage.waited_ns += time.perf_counter_ns() - since
        if isinstance(body, Refused):
            return await self._refuse(passage, send, body)
        passage.request = self._kept(body)
        request = Request(scope["method"], scope[TARGET], head, body)
        serving = self._arm.draw(passage, scope)
        if serving is None or not await self._arm.serve(passage, request, serving, send):
            await self._relay(passage, request, send)
        return None

    def _read_head(self, passage: Passage, scope: Scope) -> RequestHead | Refused:
        if self.in_flight > self._max_in_flight:
            return TOO_MANY
        head = read_request_head(scope, passage.route.recorded_headers, self._pseudonym)
        passage.attributes = passage.route.redact_attributes(head.attributes)
        if passage.route.subject is not None:
            passage.subject = passage.route.subject.pseudonym_in(scope["headers"])
        return refusal_of(scope["method"], head) or head

    async def _relay(self, passage: Passage, request: Request, send: Send) -> None:
        route = passage.route
        asked = request
        request, send = amended(passage, request, send)
        fields = request.head.upstream
        if self._tracing is not None and passage.span is not None:
            fields = self._tracing.passed_on(passage.span, fields)
        since = time.perf_counter_ns()
        response = await ask_teacher(route.upstream, request.method, request.target, fields, request.body)
        passage.waited_ns += time.perf_counter_ns() - since
        if isinstance(response, Failure):
            return await self._refuse(passage, send, response.refused, response.outcome)
        headers = reply_headers(response.headers, response.status)
        passage.served_by, passage.status = ServedBy.TEACHER, response.status
        passage.content_type = header(headers, b"content-type") or b""
        passage.content_encoding = header(headers, b"content-encoding") or b""
        if route.version_header is not None and (told := header(headers, route.version_header)):
            passage.epoch = told.decode("latin-1")
        headers += passage.own_headers()
        try:
            await send(
                {
                    "type": "http.response.start",
                    "status": response.status,
                    "headers": headers,
                    ALONE: not response.ready,
                }
            )
            passage.outcome = await self._stream(passage, response, send)
        finally:
            response.close()
        if self._answered is not None:
            self._answered(passage, asked)
        return None

    async def _stream(self, passage: Passage, response: Response, send: Send) -> Outcome:
        """Pass chunk after chunk, keeping a copy. A response that breaks off is left unfinished: the server then
        closes the caller's connection, so that nobody takes half an answer for a whole one."""
        copies, size, now = [], 0, time.perf_counter_ns
        while True:
            since = now()
            chunk = await response.next_chunk()
            passage.waited_ns += now() - since
            if isinstance(chunk, Outcome):
                return chunk
            size += len(chunk)
            if size <= self._kept_body:
                copies.append(chunk)
            more = not response.at_end
            if not more:  # known before the last chunk leaves: strict durability records it first
                kept = size <= self._kept_body
                passage.response = Body(b"".join(copies)) if kept else Body(b"", too_large=True)
                passage.outcome = Outcome.COMPLETE
            if chunk or not more:
                since = now()
                await send({"type": "http.response.body", "body": chunk, "more_body": more})
                passage.waited_ns += now() - since
            if not more:
                return Outcome.COMPLETE

    async def _refuse(
        self, passage: Passage, send: Send, refused: Refused, outcome: Outcome = Outcome.REFUSED
    ) -> None:
        passage.outcome, passage.status = outcome, refused.status
        await send_refusal(send, refused, passage.own_headers())

    def _withholding(self, commits: Commits, passage: Passage, send: Send, started_ns: int) -> Send:
        """A send that lets the end of the response pass when its exchange is on the disk."""
        assert passage.sequence is not None
        sequence = passage.sequence

        async def record() -> bool:
            passage.recorded = True
            duration_us = (time.perf_counter_ns() - started_ns) // 1000
            captured = capture(passage, sequence, duration_us)
            return self._recorder.put(captured) and await commits.of(sequence)

        return withholding(send, record, lambda: self._refuse(passage, send, NOT_RECORDED))

    async def _fail(self, passage: Passage, send: Send) -> None:
        """After an error of our own: a 500 if nothing has left yet, else the response is cut."""
        if passage.status:
            passage.outcome = Outcome.UPSTREAM_TRUNCATED
        else:
            await self._refuse(passage, send, UNEXPECTED)

    def _kept(self, body: bytes) -> Body:
        return Body(body) if len(body) <= self._kept_body else Body(b"", too_large=True)

    def _end(self, passage: Passage, duration_ns: int) -> None:
        self._duration.observe(duration_ns / 1e9)
        self._overhead.observe((duration_ns - passage.waited_ns) / 1e9)
        self._outcomes[passage.outcome] += 1
        if self._tracing is not None and passage.span is not None:
            self._tracing.end(passage.span, passage)
        if passage.status:
            self._served[passage.route.name, passage.served_by] += 1
        if passage.sequence is None or passage.recorded:
            return
        if passage.lost:
            self._recorder.lose(Drop.SHUTDOWN)
            return
        # parsed once the response has left: what was sent above is written at the end of the loop's turn
        self._soon(self._recorder.put, capture(passage, passage.sequence, duration_ns // 1000))
