"""Traces, where they are configured: one server span a request, sent by OTLP over HTTP, its context passed on.

W3C Trace Context: a caller's traceparent is the parent, and the teacher gets ours. Where tracing is off, the
caller's field passes to the teacher unchanged like any other.
"""

import time
from collections.abc import Sequence

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import Span, SpanKind, StatusCode, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from gateway.passage import Passage
from ledger.configuration import TracingSection
from ledger.exchange import Outcome, exchange_id

Fields = Sequence[tuple[bytes, bytes]]

TRACE_FIELDS = (b"traceparent", b"tracestate")
QUEUED_SPANS = 2048  # more are dropped by the exporter's queue, never waited for
EXPORT_SECONDS = 5.0
_PROPAGATOR = TraceContextTextMapPropagator()


class Tracing:
    """Belongs to the event loop; the exporter has a thread of its own."""

    def __init__(self, section: TracingSection, gateway: str) -> None:
        resource = Resource.create({"service.name": "stillgate", "service.instance.id": gateway})
        exporter = OTLPSpanExporter(endpoint=section.endpoint, timeout=EXPORT_SECONDS)
        self._provider = TracerProvider(
            resource=resource, sampler=ParentBased(TraceIdRatioBased(section.share)), shutdown_on_exit=False
        )
        self._provider.add_span_processor(BatchSpanProcessor(exporter, max_queue_size=QUEUED_SPANS))
        self._tracer = self._provider.get_tracer("stillgate.gateway")

    def begin(self, method: str, task: str, fields: Fields) -> Span:
        """Sampled as the caller's context says, else by share."""
        carrier = {name.decode(): value.decode("latin-1") for name, value in fields if name in TRACE_FIELDS}
        return self._tracer.start_span(
            f"{method} {task or 'passed through'}",
            context=_PROPAGATOR.extract(carrier),
            kind=SpanKind.SERVER,
            attributes={"http.request.method": method, "stillgate.task": task},
            start_time=time.time_ns(),
        )

    def end(self, span: Span, passage: Passage) -> None:
        if span.is_recording():
            span.set_attributes(
                {
                    "http.response.status_code": passage.status,
                    "stillgate.served_by": passage.served_by,
                    "stillgate.outcome": passage.outcome,
                    "stillgate.waited_seconds": passage.waited_ns / 1e9,
                }
            )
            if passage.sequence is not None:
                span.set_attribute("stillgate.exchange", exchange_id(passage.gateway, passage.sequence))
            if passage.fallback is not None:
                span.set_attribute("stillgate.fallback", passage.fallback)
            if passage.outcome is not Outcome.COMPLETE or passage.status >= 500:
                span.set_status(StatusCode.ERROR, passage.outcome)
        span.end(time.time_ns())

    def passed_on(self, span: Span, fields: Fields) -> list[tuple[bytes, bytes]]:
        """The fields for the teacher, with this span as the parent of whatever it does."""
        carrier: dict[str, str] = {}
        _PROPAGATOR.inject(carrier, context=set_span_in_context(span))
        ours = [(name.encode(), value.encode("latin-1")) for name, value in carrier.items()]
        return [*(field for field in fields if field[0] not in TRACE_FIELDS), *ours]

    def close(self) -> None:
        """Send what waits; blocks for as long as an export may take."""
        self._provider.shutdown()
