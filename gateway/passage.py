"""One request on its way through the gateway, and what is captured of it when it has ended."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from gateway.captured import NO_BODY, Assignment, Captured, Inline
from gateway.dialects.dialect import Asked
from gateway.headers import EXCHANGE_HEADER, SERVED_BY_HEADER, RequestHead
from gateway.routes import Route
from ledger.exchange import Fallback, Outcome, ServedBy, exchange_id

if TYPE_CHECKING:  # an extra
    from opentelemetry.trace import Span

_CONTROL = Assignment()


class Request(NamedTuple):
    """What goes to the teacher."""

    method: str
    target: bytes  # path and query as they came, or *
    head: RequestHead
    body: bytes


class Passage:
    """What is known so far; only the request's own coroutine changes it."""

    __slots__ = (
        "asked",
        "assignment",
        "attributes",
        "content_encoding",
        "content_type",
        "epoch",
        "fallback",
        "gateway",
        "inline",
        "lost",
        "outcome",
        "recorded",
        "request",
        "response",
        "route",
        "sequence",
        "served_by",
        "span",
        "started_at_us",
        "status",
        "subject",
        "waited_ns",
    )

    def __init__(self, gateway: str, route: Route, sequence: int | None, started_at_us: int) -> None:
        self.gateway, self.route, self.sequence = gateway, route, sequence
        self.started_at_us = started_at_us
        self.outcome = Outcome.REFUSED
        self.status = 0
        self.served_by = ServedBy.GATEWAY
        self.assignment = _CONTROL
        self.fallback: Fallback | None = None
        self.epoch = route.task.teacher.version
        self.attributes: Mapping[str, str] = {}
        self.subject: str | None = None
        self.request = self.response = NO_BODY
        self.content_type = self.content_encoding = b""
        self.asked: Asked | None = None
        self.inline: Inline | None = None
        self.recorded = False  # handed over already, before the response ended
        self.lost = False  # cancelled before it could end
        self.span: Span | None = None  # where requests are traced
        self.waited_ns = 0  # for the caller, the teacher and the student

    def own_headers(self) -> list[tuple[bytes, bytes]]:
        """What this gateway adds to the reply."""
        served_by = (SERVED_BY_HEADER, self.served_by.encode())
        if self.sequence is None:
            return [served_by]
        return [(EXCHANGE_HEADER, exchange_id(self.gateway, self.sequence).encode()), served_by]


def capture(passage: Passage, sequence: int, duration_us: int) -> Captured:
    """Freeze what is known of an ended request."""
    return Captured(
        sequence,
        passage.route,
        passage.started_at_us,
        duration_us,
        passage.outcome,
        passage.status,
        passage.served_by,
        passage.assignment,
        passage.fallback,
        passage.epoch,
        passage.attributes,
        passage.request,
        passage.response,
        passage.content_type,
        passage.content_encoding.decode("latin-1"),
        passage.inline,
        passage.subject,
    )
