"""Text classification as the Hugging Face Inference API and Text Embeddings Inference (TEI) speak it.

Asked with {"inputs": text}, {"inputs": [text, ...]} or TEI's batch {"inputs": [[text], ...]}; answered with
{"label", "score"} lists. One text is answered flat by TEI and nested by the Inference API: both are read, and
the student replies in the form that this teacher was last seen to use for requests of the same shape.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from gateway.dialects.dialect import Answered, Asked, Dialect, ReplyForm, texts_or_reason
from ledger.exchange import Unpaired
from ledger.observation import Observation, ObservationError, observe

# Keys that change nothing in the form of the reply; any other (top_k, raw_scores) is left to the teacher.
_HARMLESS = frozenset({"inputs", "truncate", "truncation_direction", "options"})
_NUMBERS = frozenset({int, float})
_MALFORMED = Observation(None, ObservationError.MALFORMED)
_ABSENT = Observation(None, ObservationError.ABSENT)
_WRONG_CLASSES = Observation(None, ObservationError.WRONG_CLASSES)


def parse_request(body: bytes) -> Asked | Unpaired:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return Unpaired.REQUEST_NOT_JSON
    if not isinstance(document, dict) or "inputs" not in document:
        return Unpaired.REQUEST_NOT_TEXT
    inputs, shape = _flattened(document["inputs"])
    texts = texts_or_reason(inputs)
    if isinstance(texts, Unpaired):
        return texts
    return Asked(texts, shape, _is_servable(document))


def parse_response(body: bytes, asked: Asked, classes: Sequence[str]) -> Answered | None:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(document, list) or not document:
        return None
    nested = isinstance(document[0], list)
    lists = document if nested else [document]
    if len(lists) > len(asked.texts):
        return None
    if not nested and len(asked.texts) > 1:  # one list for a pair of texts, or only the top class of each
        return None
    observations = [_observation(entries, classes) for entries in lists]
    observations += [_ABSENT] * (len(asked.texts) - len(observations))
    return Answered(tuple(observations), _form(lists[0], nested))


def render_reply(
    observations: Sequence[Observation], classes: Sequence[str], asked: Asked, form: ReplyForm
) -> bytes:
    lists = [_entries(observation, classes, form["label_first"]) for observation in observations]
    return orjson.dumps(lists if form["nested"] else lists[0])


HUGGINGFACE = Dialect(parse_request, parse_response, render_reply)


def _flattened(inputs: Any) -> tuple[Any, str]:
    if isinstance(inputs, str):
        return [inputs], "text"
    if isinstance(inputs, list) and inputs and all(isinstance(v, list) and len(v) == 1 for v in inputs):
        return [value[0] for value in inputs], "batch"
    return inputs, "list"


def _is_servable(document: Mapping[str, Any]) -> bool:
    asks = {key for key, value in document.items() if value not in (None, {}, False)}
    return asks <= _HARMLESS


def _observation(entries: Any, classes: Sequence[str]) -> Observation:
    """One list of {"label", "score"}; the usual, well-formed one is read without looking at each value twice."""
    try:
        scores = {entry["label"]: entry["score"] for entry in entries}
        values = [scores[name] for name in classes]
    except (TypeError, KeyError):
        return _unusable(entries, classes)
    if len(entries) != len(classes) or not _NUMBERS.issuperset(map(type, values)):
        return _unusable(entries, classes)
    return observe(values, len(classes))


def _unusable(entries: Any, classes: Sequence[str]) -> Observation:
    """Why a list is no distribution over the classes."""
    if not isinstance(entries, list) or not entries:
        return _MALFORMED
    for entry in entries:
        if not isinstance(entry, dict):
            return _MALFORMED
        if not isinstance(entry.get("label"), str) or type(entry.get("score")) not in _NUMBERS:
            return _MALFORMED
    return _WRONG_CLASSES


def _form(entries: Any, nested: bool) -> ReplyForm | None:
    first = entries[0] if isinstance(entries, list) and entries else None
    if not isinstance(first, dict) or first.keys() != {"label", "score"}:
        return None
    return {"nested": nested, "label_first": next(iter(first)) == "label"}


def _entries(
    observation: Observation, classes: Sequence[str], label_first: bool
) -> list[dict[str, str | float]]:
    assert observation.probabilities is not None
    pairs = sorted(zip(classes, observation.probabilities, strict=True), key=lambda pair: -pair[1])
    if label_first:
        return [{"label": name, "score": score} for name, score in pairs]
    return [{"score": score, "label": name} for name, score in pairs]
