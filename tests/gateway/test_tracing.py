"""Traces, received by a collector of our own that reads OTLP."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.gateway.running import gateway
from tests.gateway.teachers import TeacherApp

TRACE_ID, PARENT_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED = f"00-{TRACE_ID}-{PARENT_ID}-01"
NOT_SAMPLED = f"00-{TRACE_ID}-{PARENT_ID}-00"


@pytest.fixture
def collector() -> Iterator[tuple[str, list[Any]]]:
    """Its address, and the spans that it received."""
    spans: list[Any] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told = ExportTraceServiceRequest.FromString(self.rfile.read(int(self.headers["content-length"])))
            spans.extend(s for r in told.resource_spans for c in r.scope_spans for s in c.spans)
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/v1/traces", spans
    server.shutdown()
    server.server_close()


def section(endpoint: str, share: float) -> str:
    return f'tracing = {{ endpoint = "{endpoint}", share = {share} }}'


def test_a_span_a_request_within_the_callers_trace(
    teacher: TeacherApp, teacher_url: str, tmp_path: Path, collector: tuple[str, list[Any]]
) -> None:
    """Its parent is the caller's span, and the teacher is told that it is a child of ours."""
    endpoint, spans = collector
    teacher.seen.clear()
    with gateway(tmp_path, teacher_url, gateway=section(endpoint, 0.0)) as running:
        exchange = running.predict("billing", traceparent=SAMPLED, tracestate="vendor=1").header(
            "x-stillgate-exchange"
        )
        assert running.predict("billing", traceparent=NOT_SAMPLED).status == 200
        assert running.predict("billing").status == 200
        assert running.stop() == 0
    (span,) = spans
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE_ID, PARENT_ID)
    attributes = {entry.key: entry.value for entry in span.attributes}
    assert attributes["stillgate.exchange"].string_value == exchange
    assert attributes["stillgate.served_by"].string_value == "teacher"
    assert attributes["http.response.status_code"].int_value == 200
    sent = [dict(one[3]) for one in teacher.seen]
    assert sent[0][b"traceparent"] == f"00-{TRACE_ID}-{span.span_id.hex()}-01".encode()
    assert sent[0][b"tracestate"] == b"vendor=1"
    assert sent[1][b"traceparent"].startswith(f"00-{TRACE_ID}-".encode())
    assert sent[1][b"traceparent"].endswith(b"-00")


def test_without_a_decision_of_the_caller_the_share_decides(
    teacher_url: str, tmp_path: Path, collector: tuple[str, list[Any]]
) -> None:
    """A share of one takes every request; one that fails is an error."""
    endpoint, spans = collector
    with gateway(tmp_path, teacher_url, gateway=section(endpoint, 1.0)) as running:
        for _ in range(3):
            assert running.predict("billing").status == 200
        assert running.ask("TRACE", "/predict").status == 405
        assert running.stop() == 0
    assert sorted(span.status.code for span in spans) == [0, 0, 0, 2]


def test_a_collector_that_is_gone_costs_traces_only(teacher_url: str, tmp_path: Path) -> None:
    """Callers are answered, and the process stops in time."""
    with gateway(tmp_path, teacher_url, gateway=section("http://127.0.0.1:1/v1/traces", 1.0)) as running:
        assert running.predict("billing").status == 200
        running.settled()
        assert running.stop() == 0


def test_without_tracing_the_callers_context_passes(
    teacher: TeacherApp, teacher_url: str, tmp_path: Path
) -> None:
    """Unchanged, like any other field."""
    teacher.seen.clear()
    with gateway(tmp_path, teacher_url) as running:
        running.predict("billing", traceparent=SAMPLED)
    assert dict(teacher.seen[0][3])[b"traceparent"] == SAMPLED.encode()
