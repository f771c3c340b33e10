"""Open Inference Protocol v2 over REST: one BYTES tensor of texts in, a tensor of probabilities out.

Values come as JSON or as binary tensor data, the latter being what Triton's own client sends and asks for.
Probabilities stand in the order of the task's classes. Beside them the student can give a BYTES tensor of
class names and a tensor of top probabilities; a reply that holds anything else is read, not imitated.
"""

import math
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from gateway.dialects.dialect import (
    ABSENT,
    Asked,
    Dialect,
    NotJson,
    Rendered,
    texts_or_reason,
)
from gateway.dialects.spelling import dumps_like, spelling_of
from gateway.dialects.tensors import FLOATS, NUMBERS, SIZE, Tensor, encode, read_tensors, split_body
from ledger.configuration import OpenInferenceSection
from ledger.exchange import Unpaired
from ledger.observation import Observation, observe

JSON_LENGTH = b"inference-header-content-length"
CERTAIN = 1e-6  # two numbers nearer than this are the same number, written twice


@dataclass(frozen=True, slots=True)
class Terms:
    """What the dialect has to know of its task."""

    classes: Sequence[str]
    input: str | None
    output: str | None


def open_inference(classes: Sequence[str], section: OpenInferenceSection) -> Dialect:
    terms = Terms(classes, section.input, section.output)
    return Dialect(
        partial(_parse_request, terms), partial(_parse_response, terms), partial(_render_reply, terms)
    )


# --- requests ------------------------------------------------------------------------------------------


def _parse_request(terms: Terms, body: bytes) -> Asked | Unpaired:
    parts = split_body(body, "inputs")
    if isinstance(parts, NotJson):
        return Unpaired.REQUEST_NOT_JSON
    document, binary = parts
    inputs = document.get("inputs") if isinstance(document, dict) else None
    if not isinstance(inputs, list):
        return Unpaired.REQUEST_NOT_TEXT
    texts = _texts(terms, inputs, binary)
    if isinstance(texts, Unpaired):
        return texts
    form = _form_asked(document)
    if isinstance(form, Unpaired):
        return form
    request_id = document.get("id")
    known = request_id if isinstance(request_id, str) and request_id else None
    return Asked(texts, f"{form}, {'id' if known else 'no id'}", True, known)


def _texts(terms: Terms, inputs: Sequence[Any], binary: bytes) -> tuple[str, ...] | Unpaired:
    if not all(isinstance(tensor, dict) for tensor in inputs) or len(inputs) != 1:
        return Unpaired.REQUEST_NOT_TEXT
    if inputs[0].get("datatype") in NUMBERS:
        return Unpaired.REQUEST_NUMERIC
    (tensor,) = read_tensors(inputs, binary)
    if tensor is None or tensor.datatype != "BYTES" or terms.input not in (None, tensor.name):
        return Unpaired.REQUEST_NOT_TEXT
    parameters = inputs[0].get("parameters")
    told = parameters.get("content_type", "str") if isinstance(parameters, dict) else "str"
    return texts_or_reason(list(tensor.values)) if told == "str" else Unpaired.REQUEST_NOT_TEXT


def _form_asked(document: Mapping[str, Any]) -> str | Unpaired:
    """Which outputs are asked for, and how; a teacher refuses names that it does not have."""
    parameters, outputs = document.get("parameters") or {}, document.get("outputs") or []
    if not isinstance(parameters, dict) or not isinstance(outputs, list):
        return Unpaired.REQUEST_PARAMETERS
    if not parameters.keys() <= {"binary_data_output", "timeout", "priority"}:
        return Unpaired.REQUEST_PARAMETERS
    all_binary = parameters.get("binary_data_output") is True
    asked = [_output_asked(output, all_binary) for output in outputs]
    if None in asked:
        return Unpaired.REQUEST_PARAMETERS
    return " ".join(map(str, asked)) or ("all binary" if all_binary else "all")


def _output_asked(output: Any, all_binary: bool) -> str | None:
    name = output.get("name") if isinstance(output, dict) else None
    parameters = output.get("parameters") or {} if isinstance(output, dict) else None
    if not isinstance(name, str) or not isinstance(parameters, dict) or parameters.keys() - {"binary_data"}:
        return None  # classification, shared memory
    return f"{name[:64]}:{'binary' if parameters.get('binary_data', all_binary) else 'json'}"


# --- replies -------------------------------------------------------------------------------------------


def _parse_response(terms: Terms, body: bytes, asked: Asked) -> tuple[Observation, ...] | Unpaired:
    parts = split_body(body, "outputs")
    document, binary = (None, b"") if isinstance(parts, NotJson) else parts
    outputs = document.get("outputs") if isinstance(document, dict) else None
    tensors = read_tensors(outputs, binary) if isinstance(outputs, list) else []
    place = _probabilities(terms, tensors)
    tensor = None if place is None else tensors[place]
    if tensor is None or not tensor.values:
        return Unpaired.TEACHER_MALFORMED
    rows = _rows(tensor, len(asked.texts))
    if rows is None:
        return Unpaired.TEACHER_MALFORMED
    observations = [observe(row, len(terms.classes)) for row in rows]
    return (*observations, *[ABSENT] * (len(asked.texts) - len(rows)))


def _probabilities(terms: Terms, tensors: Sequence[Tensor | None]) -> int | None:
    """The place of the tensor that is declared, or else of the only float tensor, or else of the first that
    has a distribution over the classes for its first text."""
    floats = [place for place, tensor in enumerate(tensors) if tensor and tensor.datatype in FLOATS]
    if terms.output is not None:
        return next((place for place in floats if _named(tensors[place], terms.output)), None)
    if len(floats) == 1:
        return floats[0]
    width = len(terms.classes)
    return next((place for place in floats if _starts_with_distribution(tensors[place], width)), None)


def _named(tensor: Tensor | None, name: str) -> bool:
    return tensor is not None and tensor.name == name


def _starts_with_distribution(tensor: Tensor | None, width: int) -> bool:
    return (
        tensor is not None
        and tensor.shape[-1:] == (width,)
        and observe([float(value) for value in tensor.values[:width]], width).error is None
    )


def _rows(tensor: Tensor, texts: int) -> list[list[float]] | None:
    """One row for each text that was answered; the last dimension says how wide it is."""
    width = tensor.shape[-1] if len(tensor.shape) > 1 else len(tensor.values) // texts
    if not width or len(tensor.values) % width or len(tensor.values) > width * texts:
        return None
    values = [float(value) for value in tensor.values]
    return [values[start : start + width] for start in range(0, len(values), width)]


# --- the student's reply -------------------------------------------------------------------------------


def _render_reply(
    terms: Terms, observations: Sequence[Observation], asked: Asked, form: bytes
) -> Rendered | None:
    parts = split_body(form, "outputs")
    assert not isinstance(parts, NotJson)
    document, binary = parts
    tensors = read_tensors(document["outputs"], binary)
    place = _probabilities(terms, tensors)
    if place is None or not _is_known(document):
        return None
    written = []
    for output, tensor in zip(document["outputs"], tensors, strict=True):
        values = _values(terms, observations, tensor, tensors[place])
        shape = None if values is None or tensor is None else _shape(tensor, len(values), len(observations))
        if values is None or tensor is None or shape is None:
            return None
        written.append(_output(output, tensor, values, shape))
    return _rendered(document, written, asked, form[: len(form) - len(binary)])


def _is_known(document: Mapping[str, Any]) -> bool:
    """Whether nothing in the reply could belong to the caller who got it."""
    outputs_known = all(
        output.keys() <= {"name", "datatype", "shape", "data", "parameters"} and _harmless(output)
        for output in document["outputs"]
    )
    known = {"model_name", "model_version", "id", "outputs", "parameters"}
    return outputs_known and document.keys() <= known and _harmless(document)


def _harmless(holder: Mapping[str, Any]) -> bool:
    parameters = holder.get("parameters") or {}
    return isinstance(parameters, dict) and parameters.keys() <= {SIZE, "content_type"}


def _values(
    terms: Terms, observations: Sequence[Observation], tensor: Tensor | None, teacher: Tensor | None
) -> list[Any] | None:
    """What the student says in place of one tensor; None if it cannot tell what the tensor means."""
    assert teacher is not None
    if tensor is teacher:
        spelled = float if tensor.binary else spelling_of(tensor.values)
        return [spelled(value) for said in observations for value in said.probabilities or ()]
    rows = _rows(teacher, len(teacher.values) // len(terms.classes)) or []
    tops = [max(range(len(row)), key=row.__getitem__) for row in rows]
    if tensor is None or len(tensor.values) != len(rows):
        return None
    if tensor.datatype == "BYTES" and list(tensor.values) == [terms.classes[top] for top in tops]:
        return [terms.classes[said.top] for said in observations]
    if tensor.datatype in FLOATS and _same(tensor.values, [max(row) for row in rows]):
        spelled = float if tensor.binary else spelling_of(tensor.values)
        return [spelled(said.confidence) for said in observations]
    return None


def _same(values: Sequence[float], others: Sequence[float]) -> bool:
    return all(math.isclose(a, b, abs_tol=CERTAIN) for a, b in zip(values, others, strict=True))


def _output(
    output: Mapping[str, Any], tensor: Tensor, values: list[Any], shape: list[int]
) -> tuple[dict[str, Any], bytes]:
    """The output like the teacher's with other values, and what of it stands behind the JSON."""
    written = {**output, "shape": shape}
    if tensor.binary:
        content = encode(tensor.datatype, values)
        written["parameters"] = {**output["parameters"], SIZE: len(content)}
        return written, content
    width = shape[-1]
    nested = isinstance(output["data"][0], list)
    written["data"] = [values[at : at + width] for at in range(0, len(values), width)] if nested else values
    return written, b""


def _shape(tensor: Tensor, values: int, texts: int) -> list[int] | None:
    """The teacher's shape for another number of texts, which is its first dimension; None if it is not."""
    shape = [texts, *tensor.shape[1:]]
    if math.prod(tensor.shape) == values:
        return list(tensor.shape)
    return shape if math.prod(shape) == values else None


def _rendered(
    document: Mapping[str, Any], outputs: Sequence[tuple[dict[str, Any], bytes]], asked: Asked, form: bytes
) -> Rendered:
    reply = {**document, "outputs": [output for output, _ in outputs]}
    if "id" in reply:  # some servers invent one where none was asked for
        reply["id"] = asked.request_id or str(uuid.uuid4())
    written = dumps_like(reply, form)
    binary = b"".join(content for _, content in outputs)
    if not any(SIZE in (output.get("parameters") or {}) for output, _ in outputs):
        return Rendered(written)
    return Rendered(written + binary, ((JSON_LENGTH, b"%d" % len(written)),))
