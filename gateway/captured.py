"""What the event loop hands to the recorder when a response has ended, and how it becomes an exchange."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from gateway.dialects.dialect import Asked
from gateway.encoding import decode_body, is_known
from gateway.routes import NO_TASK, Route
from ledger.exchange import (
    TEACHER,
    TEACHER_AGAIN,
    Answer,
    Arm,
    Exchange,
    Fallback,
    Origin,
    Outcome,
    ServedBy,
    Unpaired,
    exchange_id,
)
from ledger.extra_calls import Purpose
from ledger.input_digests import digest_of
from ledger.observation import Observation

MAX_FORM_BYTES = 64 * 1024  # of a reply that is kept for the student's to look like it
OVERHEAD_BYTES = 1024  # of one waiting exchange besides its bodies, roughly


class Assignment(NamedTuple):
    """What was decided about a request before anybody answered."""

    arm: Arm = Arm.CONTROL
    artifact: str | None = None
    revision: int = 0
    drawn: bool = True  # the teacher is asked whatever the student says
    inclusion: float = 1.0  # probability of that, where the student serves


@dataclass(frozen=True, slots=True)
class Inline:
    """What the student said in front of the caller."""

    artifact: str
    observations: tuple[Observation, ...]
    answered_at_us: int
    latency_us: int


class Body(NamedTuple):
    """A copy of a body, empty when it was larger than what is kept."""

    content: bytes
    too_large: bool = False


NO_BODY = Body(b"")


class Captured(NamedTuple):
    """One ended request, with raw bytes: nothing in it has been parsed on the caller's time.

    A named tuple for the same reason as ledger.exchange.Exchange.
    """

    sequence: int
    route: Route
    started_at_us: int
    duration_us: int
    outcome: Outcome
    status: int
    served_by: ServedBy
    assignment: Assignment
    fallback: Fallback | None
    teacher_epoch: str
    attributes: Mapping[str, str]
    request: Body
    response: Body
    content_type: bytes
    content_encoding: str
    inline: Inline | None
    subject: str | None = None  # whose request it is, as a pseudonym

    @property
    def size(self) -> int:
        return len(self.request.content) + len(self.response.content) + OVERHEAD_BYTES


@dataclass(frozen=True, slots=True)
class CapturedAudit:
    """The teacher's reply off the path: about a request that the student had served, or a second one of its own."""

    sequence: int
    route: Route
    asked: Asked
    response: Body
    content_encoding: str
    answered_at_us: int
    latency_us: int
    purpose: Purpose = Purpose.AUDIT
    share: float = 1.0  # with which it was drawn, where the exchange does not tell

    @property
    def size(self) -> int:
        return len(self.response.content) + OVERHEAD_BYTES


class Built(NamedTuple):
    """An exchange ready to be written, with what follows from it."""

    exchange: Exchange
    size: int  # bytes that it is charged with while it waits
    texts: tuple[str, ...]  # redacted, whatever the capture setting keeps
    inline: Answer | None
    classes: int  # how many the task has
    shape: str | None = None  # of the request, when the teacher's reply showed a form
    form: bytes | None = None  # the reply itself, decoded


class _Answered(NamedTuple):
    """What the teacher's reply says, and the reply."""

    observations: tuple[Observation, ...]
    form: bytes | None


def build(gateway: str, captured: Captured) -> Built:
    """Parse what was captured. Never raises on what a peer sent."""
    asked = _asked(captured)
    answered = _answered(captured, asked)
    texts = asked.texts if isinstance(asked, Asked) else ()
    kept = texts if captured.route.keeps_inputs else ("",) * len(texts)
    assignment, sequence = captured.assignment, captured.sequence
    in_body = captured.route.attributes_in(captured.request.content)
    exchange = Exchange(
        sequence,
        exchange_id(gateway, sequence),
        captured.route.name,
        captured.started_at_us,
        captured.duration_us,
        captured.outcome,
        captured.status,
        captured.served_by,
        assignment.arm,
        assignment.artifact,
        assignment.revision,
        captured.teacher_epoch,
        assignment.inclusion if captured.served_by is ServedBy.STUDENT else 1.0,
        assignment.drawn,
        captured.fallback,
        answered if isinstance(answered, Unpaired) else None,
        {**captured.attributes, **in_body} if in_body else captured.attributes,
        kept,
        tuple([len(text.split()) for text in texts]),
        tuple([digest_of(text) for text in texts]),
        answered.observations if isinstance(answered, _Answered) else (),
        captured.subject,
    )
    classes, size = len(captured.route.classes), captured.size
    inline = None if captured.inline is None else _inline_answer(sequence, captured.inline)
    if not isinstance(answered, _Answered) or not isinstance(asked, Asked):
        return Built(exchange, size, texts, inline, classes)
    return Built(exchange, size, texts, inline, classes, asked.shape, answered.form)


def build_unparsed(gateway: str, captured: Captured) -> Built:
    """The same without looking into the bodies, for one that no parser was prepared for."""
    unread = Body(b"", too_large=True)
    return build(gateway, captured._replace(request=unread, response=unread))._replace(size=captured.size)


def build_audit(audit: CapturedAudit) -> Answer | None:
    """The teacher's answer, or None if its reply cannot be read."""
    said = observations_in(audit.route, audit.asked, audit.response, audit.content_encoding)
    if said is None:
        return None
    is_audit = audit.purpose is Purpose.AUDIT
    responder, origin = (TEACHER, Origin.AUDIT) if is_audit else (TEACHER_AGAIN, Origin.SECOND)
    return Answer(
        audit.sequence, responder, origin, audit.answered_at_us, audit.latency_us, said, audit.share
    )


def _asked(captured: Captured) -> Asked | Unpaired:
    if captured.route.name == NO_TASK:
        return Unpaired.NO_TASK
    if captured.request.too_large:
        return Unpaired.REQUEST_TOO_LARGE
    return captured.route.read_request(captured.request.content)


def _answered(captured: Captured, asked: Asked | Unpaired) -> _Answered | Unpaired:
    if asked is Unpaired.NO_TASK:
        return asked
    if captured.outcome is not Outcome.COMPLETE:
        return Unpaired.INCOMPLETE
    if isinstance(asked, Unpaired):
        return asked
    if captured.served_by is ServedBy.STUDENT:
        # an audit's observations come as an Answer of their own
        return _Answered((), None) if captured.assignment.drawn else Unpaired.NOT_ASKED
    if not 200 <= captured.status < 300:
        return Unpaired.TEACHER_ERROR
    return _read_reply(captured.route, asked, captured.response, captured.content_encoding)


def _read_reply(route: Route, asked: Asked, response: Body, encoding: str) -> _Answered | Unpaired:
    if response.too_large:
        return Unpaired.RESPONSE_TOO_LARGE
    if not is_known(encoding):
        return Unpaired.TEACHER_CODING
    body = decode_body(response.content, encoding)
    if body is None:
        return Unpaired.TEACHER_MALFORMED
    observations = route.dialect.parse_response(body, asked)
    if isinstance(observations, Unpaired):
        return observations
    exemplary = len(body) <= MAX_FORM_BYTES and not any(said.error for said in observations)
    return _Answered(observations, body if exemplary else None)


def observations_in(
    route: Route, asked: Asked, response: Body, encoding: str
) -> tuple[Observation, ...] | None:
    """What a reply says to a request; None if it cannot be read."""
    answered = _read_reply(route, asked, response, encoding)
    return answered.observations if isinstance(answered, _Answered) else None


def _inline_answer(sequence: int, inline: Inline) -> Answer:
    return Answer(
        sequence,
        inline.artifact,
        Origin.INLINE,
        inline.answered_at_us,
        inline.latency_us,
        inline.observations,
    )
