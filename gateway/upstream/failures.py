"""Every way in which asking the teacher can fail, and what the caller is told."""

from dataclasses import dataclass
from enum import StrEnum

from gateway.guard import Refused
from ledger.exchange import Outcome


class UpstreamOutcome(StrEnum):
    """How one request to the teacher ended, as counted."""

    COMPLETE = "complete"  # the whole response was read
    UNREACHABLE = "unreachable"  # no connection: refused, reset, no route, no such name
    CONNECT_TIMEOUT = "connect_timeout"
    CERTIFICATE = "certificate"  # TLS could not be agreed
    BREAKER_OPEN = "breaker_open"  # not tried: the last attempts have failed
    POOL_WAIT = "pool_wait"  # every connection was in use for too long
    CLOSED = "closed"  # the connection ended before the head of a response
    MALFORMED = "malformed"  # not valid HTTP
    TIMEOUT = "timeout"  # no head in time
    TRUNCATED = "truncated"  # the response began and broke off
    ABANDONED = "abandoned"  # we gave up: the caller left, or the answer was not wanted any more


@dataclass(frozen=True, slots=True)
class Failure:
    """The teacher gave no usable response head."""

    upstream: UpstreamOutcome
    outcome: Outcome
    refused: Refused


_RETRY = ((b"retry-after", b"1"),)
_REPLIES: dict[UpstreamOutcome, tuple[Outcome, Refused]] = {
    UpstreamOutcome.UNREACHABLE: (
        Outcome.UPSTREAM_UNREACHABLE,
        Refused(502, "teacher_unreachable", "The teacher cannot be reached."),
    ),
    UpstreamOutcome.CONNECT_TIMEOUT: (
        Outcome.UPSTREAM_TIMEOUT,
        Refused(504, "teacher_timeout", "The teacher did not take a connection in time."),
    ),
    UpstreamOutcome.CERTIFICATE: (
        Outcome.UPSTREAM_UNREACHABLE,
        Refused(
            502, "teacher_certificate", "No trusted TLS connection to the teacher; see the gateway's log."
        ),
    ),
    UpstreamOutcome.BREAKER_OPEN: (
        Outcome.UPSTREAM_UNREACHABLE,
        Refused(
            503,
            "teacher_down",
            "The last attempts to reach the teacher failed, so it was not tried; try again shortly.",
            _RETRY,
        ),
    ),
    UpstreamOutcome.POOL_WAIT: (
        Outcome.UPSTREAM_UNREACHABLE,
        Refused(
            503,
            "teacher_busy",
            "Every connection to the teacher that task.teacher.max_connections allows is in use;"
            " try again shortly.",
            _RETRY,
        ),
    ),
    UpstreamOutcome.CLOSED: (
        Outcome.UPSTREAM_UNREACHABLE,
        Refused(502, "teacher_closed", "The teacher closed the connection instead of answering."),
    ),
    UpstreamOutcome.MALFORMED: (
        Outcome.UPSTREAM_UNREACHABLE,
        Refused(502, "teacher_unreadable", "The teacher's response is not valid HTTP."),
    ),
    UpstreamOutcome.TIMEOUT: (
        Outcome.UPSTREAM_TIMEOUT,
        Refused(504, "teacher_timeout", "The teacher did not answer in time."),
    ),
}
FAILURES = {upstream: Failure(upstream, *reply) for upstream, reply in _REPLIES.items()}
