"""Open Inference Protocol v2 over JSON: one BYTES tensor of texts in, one tensor of probabilities out.

Probabilities stand in the order of the task's classes. The student's reply is the teacher's last one with
the id, shape and values exchanged, so that names, versions and parameters are those that callers know.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from gateway.dialects.dialect import Answered, Asked, Dialect, ReplyForm, texts_or_reason
from ledger.exchange import Unpaired
from ledger.observation import Observation, ObservationError, observe

_FLOATS = frozenset({"FP64", "FP32", "FP16", "BF16"})
_ABSENT = Observation(None, ObservationError.ABSENT)
_MALFORMED = Observation(None, ObservationError.MALFORMED)


def parse_request(body: bytes) -> Asked | Unpaired:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return Unpaired.REQUEST_NOT_JSON
    tensor = _only_text_tensor(document)
    if tensor is None:
        return Unpaired.REQUEST_NOT_TEXT
    texts = texts_or_reason(_flat(tensor.get("data")))
    if isinstance(texts, Unpaired):
        return texts
    request_id = document.get("id")
    asks_nothing_else = not document.get("outputs") and not document.get("parameters")
    return Asked(texts, "tensor", asks_nothing_else, request_id if isinstance(request_id, str) else None)


def parse_response(body: bytes, asked: Asked, classes: Sequence[str]) -> Answered | None:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    outputs = document.get("outputs") if isinstance(document, dict) else None
    tensor = _probability_tensor(outputs) if isinstance(outputs, list) else None
    values = _flat(tensor.get("data")) if tensor else None
    if tensor is None or not isinstance(values, list):
        return None
    width = _width(tensor, values, len(asked.texts))
    if not width or len(values) > width * len(asked.texts):
        return None
    rows = [values[start : start + width] for start in range(0, len(values), width)]
    observations = [_observation(row, classes) for row in rows]
    observations += [_ABSENT] * (len(asked.texts) - len(observations))
    return Answered(tuple(observations), document if outputs == [tensor] else None)


def render_reply(
    observations: Sequence[Observation], classes: Sequence[str], asked: Asked, form: ReplyForm
) -> bytes:
    rows = [observation.probabilities for observation in observations]
    template = form["outputs"][0]
    nested = bool(template["data"]) and isinstance(template["data"][0], list)
    values = rows if nested else [value for row in rows if row for value in row]
    output = {**template, "shape": [len(rows), len(classes)], "data": values}
    document = {**form, "outputs": [output]}
    document.pop("id", None)
    if asked.request_id is not None:
        document["id"] = asked.request_id
    return orjson.dumps(document)


OPEN_INFERENCE = Dialect(parse_request, parse_response, render_reply)


def _only_text_tensor(document: Any) -> Mapping[str, Any] | None:
    tensors = document.get("inputs") if isinstance(document, dict) else None
    if not isinstance(tensors, list) or len(tensors) != 1 or not isinstance(tensors[0], dict):
        return None
    tensor: Mapping[str, Any] = tensors[0]
    parameters = tensor.get("parameters")
    content_type = parameters.get("content_type", "str") if isinstance(parameters, dict) else "str"
    return tensor if tensor.get("datatype") == "BYTES" and content_type == "str" else None


def _probability_tensor(outputs: Sequence[Any]) -> Mapping[str, Any] | None:
    return next((o for o in outputs if isinstance(o, dict) and o.get("datatype") in _FLOATS), None)


def _flat(values: Any) -> Any:
    """Tensors may be written flat or in rows; both hold the same values in the same order."""
    if isinstance(values, list) and values and all(isinstance(row, list) for row in values):
        return [value for row in values for value in row]
    return values


def _width(tensor: Mapping[str, Any], values: Sequence[Any], texts: int) -> int:
    """Values of one row: the last dimension of the declared shape, which must agree with the values."""
    shape = tensor.get("shape")
    if not isinstance(shape, list) or not all(isinstance(n, int) and n > 0 for n in shape):
        return 0
    width: int = shape[-1] if len(shape) > 1 else len(values) // texts
    return width if width and len(values) % width == 0 else 0


def _observation(row: Sequence[Any], classes: Sequence[str]) -> Observation:
    if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in row):
        return _MALFORMED
    return observe([float(value) for value in row], len(classes))
