"""The student's arm: drawing it, asking the student in line, and the reply that takes the teacher's form."""

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gateway.amending import amended_body
from gateway.asgi import Scope, Send
from gateway.audit import AuditRequest, Audits
from gateway.captured import Assignment, Inline
from gateway.dialects.dialect import Asked, Fields
from gateway.headers import header
from gateway.metrics import Metrics
from gateway.passage import Passage, Request
from gateway.record import Recorder
from gateway.serving import applied_thresholds, assign, decide, why_uncovered
from gateway.shadow import checked
from gateway.stages import Serving, Snapshot
from ledger.clock import now_us
from ledger.exchange import Arm, Fallback, Outcome, ServedBy, Unpaired
from ledger.languages import languages_are_ready
from ledger.observation import Observation
from ledger.slices import Subject
from student.client import StudentClient
from student.wire import Refusal

SESSION_HEADER = b"x-session"  # requests that carry the same value stay in the same arm


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole reply of the student."""

    body: bytes
    fields: Fields  # the content type, and what the form needs beside it


class StudentArm:
    """Lives in the event loop."""

    def __init__(
        self,
        student: StudentClient,
        deadline_seconds: float,
        recorder: Recorder,
        audits: Audits,
        metrics: Metrics,
        snapshot: Callable[[], Snapshot],
    ) -> None:
        self._student, self.deadline_seconds = student, deadline_seconds
        self._recorder, self._audits, self._metrics, self._snapshot = recorder, audits, metrics, snapshot

    def draw(self, passage: Passage, scope: Scope) -> Serving | None:
        """Assign the request to an arm, before anybody answers; what is returned, if anything, may serve."""
        task = self._snapshot().tasks.get(passage.route.name)
        if task is None:
            return None
        passage.assignment = Assignment(revision=task.revision)
        serving = task.serving
        if serving is None or passage.sequence is None:  # an unrecorded answer could not be measured
            return None
        subject = header(scope["headers"], SESSION_HEADER) or b"%d" % passage.sequence
        if assign(serving.artifact, subject, serving.share) is Arm.CONTROL:
            return None
        audit_share = passage.route.task.fallback.audit_share
        drawn = random.random() < audit_share
        passage.assignment = Assignment(Arm.STUDENT, serving.artifact, task.revision, drawn, audit_share)
        return serving

    async def serve(self, passage: Passage, request: Request, serving: Serving, send: Send) -> bool:
        """Let the student answer the caller; False, with the reason noted, if the teacher has to."""
        reply = await self._reply(passage, request, serving)
        if isinstance(reply, Fallback):
            passage.fallback = reply
            self._metrics.fallbacks.labels(reply).inc()
            return False
        passage.served_by, passage.status = ServedBy.STUDENT, 200
        headers = [*reply.fields, (b"content-length", b"%d" % len(reply.body))]
        headers += passage.own_headers()
        passage.outcome = Outcome.COMPLETE  # taken back if the caller leaves first
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": reply.body})
        self._audit(passage, request)
        return True

    async def _reply(self, passage: Passage, request: Request, serving: Serving) -> Reply | Fallback:
        route = passage.route
        if time.monotonic() > self._snapshot().fresh_until:
            return Fallback.MONITOR_STALE
        asked = _read(passage, request)
        if isinstance(asked, Fallback):
            return asked
        seen = self._recorder.forms.get((route.name, asked.shape))
        if seen is None:  # this teacher has not yet been seen to answer a request of this shape
            return Fallback.FORM_UNKNOWN
        if len(route.counted_rules) < len(route.rules) and not languages_are_ready():
            return Fallback.UNCERTIFIED_SLICE
        subjects = _subjects(passage, request, asked.texts)
        thresholds = applied_thresholds(route.rules, serving.thresholds, subjects)
        if thresholds is None:
            return why_uncovered(route.rules, serving.void, subjects)
        said = await self._ask(passage, serving.artifact, asked)
        fallback = decide(said, thresholds)
        if isinstance(said, Refusal) or fallback is not None:
            return fallback or Fallback.STUDENT_FAILED
        form, content_type = seen
        rendered = route.dialect.render_reply(said, asked, form)
        if rendered is None:
            return Fallback.FORM_UNKNOWN
        return Reply(rendered.body, ((b"content-type", content_type), *rendered.fields))

    async def _ask(self, passage: Passage, artifact: str, asked: Asked) -> tuple[Observation, ...] | Refusal:
        started_ns = time.perf_counter_ns()
        passage.asked = asked
        said = await self._student.ask(artifact, asked.texts, self.deadline_seconds, urgent=True)
        passage.waited_ns += time.perf_counter_ns() - started_ns
        if isinstance(said, Refusal) or len(said) != len(asked.texts):
            return said if isinstance(said, Refusal) else Refusal.FAILED
        observations = checked(said, len(passage.route.classes))
        latency_us = (time.perf_counter_ns() - started_ns) // 1000
        passage.inline = Inline(artifact, observations, now_us(), latency_us)
        return observations

    def _audit(self, passage: Passage, request: Request) -> None:
        """Ask the teacher off the path where that was drawn beforehand."""
        if passage.assignment.drawn and passage.sequence is not None and passage.asked is not None:
            amendment = amended_body(passage, request)
            self._audits.start(
                AuditRequest(
                    passage.sequence,
                    passage.route,
                    passage.asked,
                    request.method,
                    request.target,
                    request.head.upstream,
                    request.body if amendment is None else amendment.body,
                )
            )


def _subjects(passage: Passage, request: Request, texts: Sequence[str]) -> list[Subject]:
    """What rules look at: the same attributes, texts and time that are recorded."""
    attributes = {**passage.attributes, **passage.route.attributes_in(request.body)}
    return [Subject(attributes, len(text.split()), None, text, passage.started_at_us) for text in texts]


def _read(passage: Passage, request: Request) -> Asked | Fallback:
    """What the request asks of a student. Bodies beyond what is recorded are not parsed on the caller's time."""
    if request.method != "POST" or passage.request.too_large:
        return Fallback.UNPARSED
    asked = passage.route.read_request(request.body)
    if isinstance(asked, Asked):
        return asked if asked.servable else Fallback.PARAMETERS
    return Fallback.PARAMETERS if asked is Unpaired.REQUEST_PARAMETERS else Fallback.UNPARSED
