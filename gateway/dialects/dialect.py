"""The contract of a dialect: pure functions over whole bodies, bound to one task, and what they exchange."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeGuard

import orjson

from ledger.exchange import Unpaired
from ledger.observation import Observation, ObservationError

Fields = tuple[tuple[bytes, bytes], ...]  # response header fields

ABSENT = Observation(None, ObservationError.ABSENT)
MALFORMED = Observation(None, ObservationError.MALFORMED)
WRONG_CLASSES = Observation(None, ObservationError.WRONG_CLASSES)


class NotJson:
    """The type of NOT_JSON, which no document is."""


NOT_JSON: Final = NotJson()


class Asked(NamedTuple):
    """What a request asks."""

    texts: tuple[str, ...]
    shape: str  # the teacher answers all requests of one shape in one form; few values, whatever callers send
    servable: bool  # it asks for nothing that a student cannot give
    request_id: str | None = None  # echoed in the reply where the dialect has one


@dataclass(frozen=True, slots=True)
class Rendered:
    """A student's reply, with the header fields that its form needs besides the content type."""

    body: bytes
    fields: Fields = ()


@dataclass(frozen=True, slots=True)
class Amendment:
    """Another request body for the teacher, and how its reply becomes what the caller asked for."""

    body: bytes
    restored: Callable[[bytes], bytes]  # of a whole JSON reply, or of the data of one event


@dataclass(frozen=True, slots=True)
class Dialect:
    """One wire form. Bodies are given decoded; none of the functions raises on what a peer sent.

    `render_reply` is given the body of the teacher's last reply of the same shape and writes one like it, or
    says None when it cannot tell what in it belonged to the caller who got it.
    """

    parse_request: Callable[[bytes], Asked | Unpaired]
    parse_response: Callable[[bytes, Asked], tuple[Observation, ...] | Unpaired]
    render_reply: Callable[[Sequence[Observation], Asked, bytes], Rendered | None]
    amend: Callable[[bytes], Amendment | None] | None = None  # where the teacher is asked for more


def read_json(body: bytes) -> Any:
    """The document, or NOT_JSON: also for NaN, a byte order mark, lone surrogates and nesting without end."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return NOT_JSON


def texts_or_reason(values: Any) -> tuple[str, ...] | Unpaired:
    """A list of texts, each with something in it, or why it is none."""
    if not isinstance(values, list):
        return Unpaired.REQUEST_NOT_TEXT
    if not values:
        return Unpaired.REQUEST_EMPTY
    for value in values:
        if not isinstance(value, str):
            return Unpaired.REQUEST_NOT_TEXT
    for value in values:
        if not value or value.isspace():
            return Unpaired.REQUEST_EMPTY
    return tuple(values)


def is_number(value: Any) -> TypeGuard[float]:
    return type(value) is float or type(value) is int  # as JSON gives them: no bool, no other kind


def are_numbers(values: Sequence[Any]) -> bool:
    return all(map(is_number, values))
