"""The contract of a dialect: three pure functions over bytes, and the two values that they exchange."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ledger.exchange import Unpaired
from ledger.observation import Observation

ReplyForm = Mapping[str, Any]  # what a dialect has to know of the teacher's replies to write one like them


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request asks."""

    texts: tuple[str, ...]
    shape: str  # the teacher answers all requests of one shape in one form
    servable: bool  # it asks for nothing that a student cannot give
    request_id: str | None = None  # echoed in the reply where the dialect has one


@dataclass(frozen=True, slots=True)
class Answered:
    """What a reply of the teacher says."""

    observations: tuple[Observation, ...]  # one for each text asked
    form: ReplyForm | None  # None when a student's reply could not take this form


@dataclass(frozen=True, slots=True)
class Dialect:
    """One wire form. Bodies are given decoded; none of the functions raises on what a peer sent."""

    parse_request: Callable[[bytes], Asked | Unpaired]
    parse_response: Callable[[bytes, Asked, Sequence[str]], Answered | None]  # None: it cannot be read
    render_reply: Callable[[Sequence[Observation], Sequence[str], Asked, ReplyForm], bytes]


def texts_or_reason(values: Any) -> tuple[str, ...] | Unpaired:
    """A list of texts, each with something in it, or why it is none."""
    if not isinstance(values, list):
        return Unpaired.REQUEST_NOT_TEXT
    if not values:
        return Unpaired.REQUEST_EMPTY
    if not all(isinstance(value, str) for value in values):
        return Unpaired.REQUEST_NOT_TEXT
    return tuple(values) if all(value.strip() for value in values) else Unpaired.REQUEST_EMPTY
