"""Drawing probes from early traffic: requests that may be stored, each with other texts, until there are enough.

Only what the task stores anyway may become a probe, and of it only what redaction leaves as it came: the teacher has
to get the request, so it cannot be kept with parts taken out.
"""

import math
import time
from typing import Any

import orjson

from gateway.dialects.dialect import NOT_JSON, Asked, read_json
from gateway.headers import header
from gateway.passage import Passage, Request
from gateway.routes import Route
from ledger.exchange import Outcome, ServedBy, exchange_id
from ledger.probe_set import MOST_BODY_BYTES, Probe

LOOK_SECONDS = (
    0.05  # between two requests that are looked at: drawing costs next to nothing however long it takes
)
SETTLED_SECONDS = 1.0
DRAWING_SECONDS = 86_400.0  # after it fewer than were asked for have to do

# of an OpenAI request: who asks, which is no part of the question
_IDENTIFYING = ("user", "metadata", "safety_identifier", "prompt_cache_key")


class Drawing:
    """What was drawn so far for one task; belongs to the event loop."""

    def __init__(self, wanted: int) -> None:
        self._wanted, self._drawn = wanted, dict[tuple[str, ...], Probe]()
        self._since, self._looked_at = time.monotonic(), -math.inf

    @property
    def is_over(self) -> bool:
        """Enough were drawn, or it took too long; and the last one had time to get into the record."""
        now = time.monotonic()
        late = now - self._since > DRAWING_SECONDS and bool(self._drawn)
        return (len(self._drawn) >= self._wanted or late) and now - self._looked_at > SETTLED_SECONDS

    @property
    def probes(self) -> list[Probe]:
        return list(self._drawn.values())

    def offer(self, passage: Passage, request: Request) -> None:
        """Look at a request that the teacher has answered."""
        now = time.monotonic()
        if len(self._drawn) >= self._wanted or now - self._looked_at < LOOK_SECONDS:
            return
        self._looked_at = now
        asked = _asked(passage, request)
        if asked is not None and asked.texts not in self._drawn:
            body = _body(passage.route, request.body)
            if body is not None and passage.sequence is not None:
                self._drawn[asked.texts] = _probe(passage, request, body, passage.sequence)

    def withdraw(self, probes: list[Probe]) -> None:
        """Take back what may not be kept after all."""
        gone = {probe.exchange_id for probe in probes}
        self._drawn = {texts: one for texts, one in self._drawn.items() if one.exchange_id not in gone}


def _asked(passage: Passage, request: Request) -> Asked | None:
    """What it asks; None where it may not be stored, or could not be sent again."""
    route = passage.route
    if not (
        route.keeps_inputs
        and request.method == "POST"
        and b"?" not in request.target
        and len(request.body) <= MOST_BODY_BYTES
        and header(request.head.upstream, b"content-encoding") is None
        and passage.served_by is ServedBy.TEACHER
        and passage.outcome is Outcome.COMPLETE
        and 200 <= passage.status < 300
    ):
        return None
    asked = route.read_request(request.body)
    return asked if isinstance(asked, Asked) and asked.servable else None


def _body(route: Route, body: bytes) -> str | None:
    """As it is kept; None where redaction would take something out of it."""
    document = read_json(body)
    if document is NOT_JSON or any(route.redact(text) != text for text in _texts(document)):
        return None
    if route.task.dialect != "openai-chat":
        return body.decode()
    return orjson.dumps({k: v for k, v in document.items() if k not in _IDENTIFYING}).decode()


def _texts(document: Any) -> list[str]:
    """Every text in it, names of members included."""
    found, waiting = [], [document]
    while waiting:
        one = waiting.pop()
        if isinstance(one, str):
            found.append(one)
        elif isinstance(one, list):
            waiting += one
        elif isinstance(one, dict):
            waiting += [*one.keys(), *one.values()]
    return found


def _probe(passage: Passage, request: Request, body: str, sequence: int) -> Probe:
    content_type = header(request.head.upstream, b"content-type") or b"application/json"
    return Probe(
        0,  # numbered when the set is frozen
        request.target.decode("latin-1"),
        content_type.decode("latin-1"),
        body,
        exchange_id(passage.gateway, sequence),
        passage.subject,
        passage.started_at_us,
    )
