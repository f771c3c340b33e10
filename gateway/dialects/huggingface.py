"""Text classification as the Hugging Face Inference API and Text Embeddings Inference (TEI) speak it.

Asked with {"inputs": text}, {"inputs": [text, ...]} or TEI's batch {"inputs": [[text], ...]}; answered with
{"label", "score"} lists. One text is answered flat by TEI and nested by the Inference API: both are read, and
the student replies in the form that this teacher was last seen to use for requests of the same shape. A list
of two texts is a batch to the Inference API and one pair of texts to TEI, which its flat reply gives away.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from gateway.dialects.dialect import (
    ABSENT,
    MALFORMED,
    NOT_JSON,
    WRONG_CLASSES,
    Asked,
    Dialect,
    Rendered,
    is_number,
    read_json,
    texts_or_reason,
)
from gateway.dialects.spelling import dumps_like, spelling_of
from ledger.exchange import Unpaired
from ledger.observation import Observation, observe

# keys that change neither the meaning nor the form of the answer
_HARMLESS = frozenset({"inputs", "parameters", "truncate", "truncation_direction", "options"})


def huggingface(classes: Sequence[str]) -> Dialect:
    names = tuple(classes)
    return Dialect(
        partial(_parse_request, names), partial(_parse_response, names), partial(_render_reply, names)
    )


def _parse_request(classes: Sequence[str], body: bytes) -> Asked | Unpaired:
    document = read_json(body)
    if document is NOT_JSON:
        return Unpaired.REQUEST_NOT_JSON
    if not isinstance(document, dict) or "inputs" not in document:
        return Unpaired.REQUEST_NOT_TEXT
    inputs, shape = _flattened(document["inputs"])
    if shape == "pairs":
        return Unpaired.REQUEST_PAIR
    texts = texts_or_reason(inputs)
    if isinstance(texts, Unpaired):
        return texts
    return Asked(texts, shape, True) if _asks_for_all(document, classes) else Unpaired.REQUEST_PARAMETERS


def _flattened(inputs: Any) -> tuple[Any, str]:
    if isinstance(inputs, str):
        return [inputs], "text"
    if not isinstance(inputs, list) or not inputs or not all(isinstance(value, list) for value in inputs):
        return inputs, "list" if isinstance(inputs, list) and len(inputs) > 1 else "list of one"
    if all(len(value) == 1 for value in inputs):
        return [value[0] for value in inputs], "batch"
    pairs = all(len(value) in (1, 2) and are_texts(value) for value in inputs)
    return inputs, "pairs" if pairs else "batch"


def are_texts(values: Sequence[Any]) -> bool:
    return all(isinstance(value, str) for value in values)


def _asks_for_all(document: Mapping[str, Any], classes: Sequence[str]) -> bool:
    """Whether the answer is a distribution over every class."""
    if len(document) == 1:
        return True  # the inputs alone
    asks = {key for key, value in document.items() if value not in (None, {}, False)}
    parameters = document.get("parameters") or {}
    return asks <= _HARMLESS and isinstance(parameters, dict) and _all_of(parameters, len(classes))


def _all_of(parameters: Mapping[str, Any], classes: int) -> bool:
    for key, value in parameters.items():
        if value is None or (key == "function_to_apply" and value == "softmax"):
            continue
        if key == "top_k" and isinstance(value, int) and value >= classes:
            continue
        if key == "return_all_scores" and value is True:
            continue
        if key not in ("truncation", "max_length"):
            return False
    return True


def _parse_response(classes: Sequence[str], body: bytes, asked: Asked) -> tuple[Observation, ...] | Unpaired:
    document = read_json(body)
    if not isinstance(document, list) or not document:
        return Unpaired.TEACHER_MALFORMED
    nested = isinstance(document[0], list)
    if not nested and len(asked.texts) > 1:
        return Unpaired.REQUEST_PAIR if asked.shape == "list" else Unpaired.TEACHER_MALFORMED
    lists = document if nested else [document]
    if len(lists) > len(asked.texts):
        return Unpaired.TEACHER_MALFORMED
    observations = [_observation(entries, classes) for entries in lists]
    return (*observations, *[ABSENT] * (len(asked.texts) - len(observations)))


def _observation(entries: Any, classes: Sequence[str]) -> Observation:
    if not isinstance(entries, list) or not entries:
        return MALFORMED
    scores: dict[str, float] = {}
    for entry in entries:
        if not isinstance(entry, dict):
            return MALFORMED
        label, score = entry.get("label"), entry.get("score")
        if not isinstance(label, str) or not is_number(score):
            return MALFORMED
        scores[label] = float(score)
    if len(scores) != len(classes) or len(entries) != len(classes):
        return WRONG_CLASSES
    try:
        return observe([scores[name] for name in classes], len(classes))
    except KeyError:
        return WRONG_CLASSES


def _render_reply(
    classes: Sequence[str], observations: Sequence[Observation], asked: Asked, form: bytes
) -> Rendered | None:
    document = read_json(form)
    nested = isinstance(document[0], list)
    entries = document[0] if nested else document
    if not all(entry.keys() == {"label", "score"} for entry in entries):
        return None  # what else the teacher says of a text is nothing that a student knows
    write = _writer(classes, entries)
    lists = [write(observation) for observation in observations]
    return Rendered(dumps_like(lists if nested else lists[0], form))


def _writer(
    classes: Sequence[str], like: Sequence[Mapping[str, Any]]
) -> Callable[[Observation], list[dict[str, Any]]]:
    """Writes entries as the teacher did: their order, the order of their keys, their digits."""
    spelled = spelling_of([entry["score"] for entry in like])
    keys = tuple(like[0])
    scores, order = [entry["score"] for entry in like], [entry["label"] for entry in like]
    by_score = scores == sorted(scores, reverse=True)

    def write(observation: Observation) -> list[dict[str, Any]]:
        assert observation.probabilities is not None
        of_class = dict(zip(classes, observation.probabilities, strict=True))
        names = sorted(classes, key=lambda name: -of_class[name]) if by_score else order
        written = [{"label": name, "score": spelled(of_class[name])} for name in names]
        return [{key: entry[key] for key in keys} for entry in written]

    return write
