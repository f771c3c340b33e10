"""Any JSON, by JSON Pointer: where the text stands in a request, and the answer in a reply.

Requests are of one shape if they are the same but for the text and what the task says to ignore. So a student
answers only requests that, parameters and all, the teacher was seen to answer.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import orjson

from gateway.dialects.dialect import (
    MALFORMED,
    NOT_JSON,
    WRONG_CLASSES,
    Asked,
    Dialect,
    Rendered,
    are_numbers,
    is_number,
    read_json,
)
from gateway.dialects.spans import exchanged, spans_of
from gateway.dialects.spelling import fresh_id, spelling_of
from ledger.configuration import JsonSection
from ledger.exchange import Unpaired
from ledger.observation import Observation, hard_label, observe
from ledger.pointers import NOTHING, Pointer, parse_pointer, resolve

_EMPTY = (b"null", b"false", b'""', b"0", b"0.0")


@dataclass(frozen=True, slots=True)
class Terms:
    """What the dialect has to know of its task."""

    classes: Sequence[str]
    text: Pointer
    ignored: tuple[Pointer, ...]
    probabilities: Pointer | None
    label: Pointer | None
    confidence: Pointer | None
    constant: tuple[Pointer, ...]
    fresh: tuple[Pointer, ...]


def json_places(classes: Sequence[str], section: JsonSection) -> Dialect:
    terms = Terms(
        classes,
        parse_pointer(section.text),
        tuple(map(parse_pointer, section.ignored)),
        _maybe(section.probabilities),
        _maybe(section.label),
        _maybe(section.confidence),
        tuple(map(parse_pointer, section.constant)),
        tuple(map(parse_pointer, section.fresh)),
    )
    return Dialect(
        partial(_parse_request, terms), partial(_parse_response, terms), partial(_render_reply, terms)
    )


def _maybe(text: str | None) -> Pointer | None:
    return None if text is None else parse_pointer(text)


def _parse_request(terms: Terms, body: bytes) -> Asked | Unpaired:
    document = read_json(body)
    if document is NOT_JSON:
        return Unpaired.REQUEST_NOT_JSON
    text = resolve(document, terms.text)
    if not isinstance(text, str):
        return Unpaired.REQUEST_NOT_TEXT
    if not text.strip():
        return Unpaired.REQUEST_EMPTY
    return Asked((text,), _shape(document, (terms.text, *terms.ignored)), True)


def _shape(document: Any, ignored: Sequence[Pointer]) -> str:
    """A digest of what the request says besides its text."""
    for pointer in ignored:
        document = _without(document, pointer)
    try:
        rest = orjson.dumps(document, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError:  # nested deeper than orjson writes
        return "deep"
    return hashlib.blake2b(rest, digest_size=8).hexdigest()


def _without(document: Any, pointer: Pointer) -> Any:
    """The document with null at a pointer, if there is anything."""
    if not pointer:
        return None
    parent, last = resolve(document, pointer[:-1]), pointer[-1]
    if resolve(parent, (last,)) is not NOTHING:
        parent[int(last) if isinstance(parent, list) else last] = None
    return document


def _parse_response(terms: Terms, body: bytes, asked: Asked) -> tuple[Observation, ...] | Unpaired:
    document = read_json(body)
    if document is NOT_JSON:
        return Unpaired.TEACHER_MALFORMED
    if terms.probabilities is not None:
        found = resolve(document, terms.probabilities)
        return Unpaired.TEACHER_MALFORMED if found is NOTHING else (_distribution(found, terms.classes),)
    label = resolve(document, terms.label or ())
    if not isinstance(label, str):
        return Unpaired.TEACHER_MALFORMED
    if label not in terms.classes:
        return Unpaired.LABEL_UNKNOWN
    confidence = None if terms.confidence is None else resolve(document, terms.confidence)
    return (_labelled(terms.classes.index(label), confidence, len(terms.classes)),)


def _distribution(found: Any, classes: Sequence[str]) -> Observation:
    if isinstance(found, dict):
        if found.keys() != set(classes):
            return WRONG_CLASSES
        found = [found[name] for name in classes]
    if not isinstance(found, list) or not are_numbers(found):
        return MALFORMED
    return observe([float(value) for value in found], len(classes))


def _labelled(index: int, confidence: Any, class_count: int) -> Observation:
    """Of two classes the confidence of one tells the other's; of more it does not tell how the rest divides."""
    if class_count == 2 and is_number(confidence):
        return observe([confidence, 1 - confidence] if index == 0 else [1 - confidence, confidence], 2)
    return hard_label(index, class_count)


def _render_reply(
    terms: Terms, observations: Sequence[Observation], asked: Asked, form: bytes
) -> Rendered | None:
    fresh = _fresh_values(terms, observations[0], read_json(form))
    spans = []
    for span in spans_of(form):
        place = tuple(map(str, span.path))
        content = form[span.start : span.end]
        if content[:1] in b"{[" or _is_within(place, terms.constant):
            continue
        if place in fresh:
            spans.append((span.start, span.end, orjson.dumps(fresh[place])))
        elif place in terms.fresh and content[:1] == b'"':
            spans.append((span.start, span.end, orjson.dumps(fresh_id(orjson.loads(content)))))
        elif content not in _EMPTY:
            return None  # it may be another caller's
    return Rendered(exchanged(form, spans))


def _is_within(place: Pointer, pointers: Sequence[Pointer]) -> bool:
    return any(place[: len(pointer)] == pointer for pointer in pointers)


def _fresh_values(terms: Terms, said: Observation, document: Any) -> dict[Pointer, Any]:
    """What the student says, by place."""
    assert said.probabilities is not None
    if terms.probabilities is not None:
        like = resolve(document, terms.probabilities)
        keys = terms.classes if isinstance(like, dict) else [str(place) for place in range(len(like))]
        spelled = spelling_of(list(like.values()) if isinstance(like, dict) else like)
        values = [spelled(value) for value in said.probabilities]
        return {(*terms.probabilities, key): value for key, value in zip(keys, values, strict=True)}
    found: dict[Pointer, Any] = {terms.label or (): terms.classes[said.top]}
    if terms.confidence is not None:
        found[terms.confidence] = spelling_of([resolve(document, terms.confidence)])(said.confidence)
    return found
