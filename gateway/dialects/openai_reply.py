"""The student's chat completion: the teacher's last one of the same shape, byte for byte, but for its words.

Identifier and time are new, token counts are 0 (no token of the teacher was used). A field that is not known to
be the same for all callers and holds anything is a reason not to imitate: it might be somebody else's.
"""

import time
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import orjson

from gateway.dialects.dialect import Asked, Rendered, read_json
from gateway.dialects.openai_amendment import restored
from gateway.dialects.openai_completion import DONE
from gateway.dialects.spans import Span, exchanged, spans_of
from gateway.dialects.spelling import fresh_id
from gateway.dialects.sse import Event, blocks_of, event_of
from ledger.configuration import OpenAISection
from ledger.observation import Observation

_SAME_FOR_ALL = frozenset(
    {
        ("object",),
        ("model",),
        ("system_fingerprint",),
        ("service_tier",),
        ("choices", "index"),
        ("choices", "message", "role"),
        ("choices", "delta", "role"),
    }
)
_WORDS = frozenset({("choices", "message", "content"), ("choices", "delta", "content")})
_EMPTY = (b"null", b"false", b'""', b"0", b"0.0")


def render(
    section: OpenAISection,
    written: Sequence[str],
    observations: Sequence[Observation],
    asked: Asked,
    form: bytes,
) -> Rendered | None:
    """`written` is what to say for each class."""
    words = written[observations[0].top]
    if form.lstrip().startswith(b"{"):
        body = _Like(form).document(*_prepared(section.unasked_logprobs, form), words)
    else:
        body = _like_stream(section.unasked_logprobs, form, words)
    return None if body is None else Rendered(body)


def _like_stream(unasked: str, form: bytes, words: str) -> bytes | None:
    """All words in one chunk: in the teacher's first with words, or its last if that one also says why it ends."""
    events = [event for event in map(event_of, blocks_of(form)) if event is not None]
    speaking = [place for place, event in enumerate(events) if _speaks(event)]
    if not speaking:
        return None
    kept = speaking[-1] if _finishes(events[speaking[-1]]) else speaking[0]
    like, blocks = _Like(events[0].data), []
    for place, event in enumerate(events):
        if place in speaking and place != kept:
            continue
        data = DONE if event.data == DONE else like.document(*_prepared(unasked, event.data), words)
        if data is None or event.place is None:
            return None
        blocks.append(event.with_data(data))
    return b"".join(blocks)


def _speaks(event: Event) -> bool:
    delta = _choice(event).get("delta")
    return isinstance(delta, dict) and bool(delta.get("content"))


def _finishes(event: Event) -> bool:
    return _choice(event).get("finish_reason") is not None


def _choice(event: Event) -> dict[str, Any]:
    document = read_json(event.data)
    choices = document.get("choices") if isinstance(document, dict) else None
    return choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}


class _Like:
    """Writes documents that share one new identifier and time."""

    def __init__(self, first: bytes) -> None:
        document = read_json(first)
        told = document.get("id") if isinstance(document, dict) else None
        self._id = orjson.dumps(fresh_id(told if isinstance(told, str) else ""))
        self._created = b"%d" % time.time()

    def document(self, form: bytes, leaves: Sequence[Span], words: str) -> bytes | None:
        spans = [(span, self._exchange(span, form[span.start : span.end], words)) for span in leaves]
        if any(content is None for _, content in spans):
            return None
        return exchanged(form, [(span.start, span.end, content) for span, content in spans if content])

    def _exchange(self, span: Span, content: bytes, words: str) -> bytes | None:
        """What stands in place of one value; None if it may not be repeated."""
        place = tuple(part for part in span.path if isinstance(part, str))
        if place in _SAME_FOR_ALL or content in _EMPTY:
            return content
        if place == ("id",):
            return self._id
        if place == ("created",):
            return self._created
        if place == ("obfuscation",):  # random letters that hide the length of a chunk
            return orjson.dumps(fresh_id(orjson.loads(content)))
        if place == ("choices", "finish_reason"):
            return b'"stop"'
        if place in _WORDS:
            return orjson.dumps(words)
        is_count = place[:1] == ("usage",) and content[:1].isdigit()
        return b"0" if is_count else None


@lru_cache(maxsize=64)
def _prepared(unasked: str, form: bytes) -> tuple[bytes, tuple[Span, ...]]:
    """The document without logprobs, and where its leaves stand. One form serves many replies."""
    document = restored(unasked, form)
    return document, tuple(span for span in spans_of(document) if document[span.start] not in b"{[")
