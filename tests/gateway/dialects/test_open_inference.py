"""Open Inference Protocol v2: JSON and binary tensors, shapes, several outputs, and the student's reply."""

import struct
from typing import Any

import orjson
import pytest

from gateway.dialects.dialect import Asked
from gateway.dialects.tensors import encode
from ledger.exchange import Unpaired
from ledger.observation import Observation, ObservationError
from tests.gateway.dialects.tasks import ONE, TWO, ask, asked, dialect, rendered

OIP = dialect("open-inference")
X, XY = Asked(("x",), "all, no id", True), Asked(("x", "y"), "all, no id", True)


def tensor(data: Any, shape: list[int] | None = None, **changes: Any) -> dict[str, Any]:
    shape = [len(data)] if shape is None and isinstance(data, list) else shape
    return {"inputs": [{"name": "t", "shape": shape, "datatype": "BYTES", "data": data, **changes}]}


def binary_request(texts: list[bytes], **changes: Any) -> bytes:
    content = b"".join(struct.pack("<I", len(text)) + text for text in texts)
    head = tensor(None, [len(texts), 1], parameters={"binary_data_size": len(content)})
    del head["inputs"][0]["data"]
    return orjson.dumps({**head, **changes}) + content


def outputs(data: Any, shape: list[int], **changes: Any) -> dict[str, Any]:
    output = {"name": "probs", "datatype": "FP32", "shape": shape, "data": data}
    return {"model_name": "m", "model_version": "3", "outputs": [output], **changes}


def binary_reply(datatype: str, values: list[float], shape: list[int]) -> bytes:
    content = encode(datatype, values)
    output = {
        "name": "probs",
        "datatype": datatype,
        "shape": shape,
        "parameters": {"binary_data_size": len(content)},
    }
    return orjson.dumps({"model_name": "m", "model_version": "3", "outputs": [output]}) + content


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (tensor(["x", "y"]), XY),
        (tensor([["x"], ["y"]], [2, 1]), XY),
        ({**tensor(["x"]), "id": "q"}, Asked(("x",), "all, id", True, "q")),
        ({**tensor(["x"]), "outputs": [{"name": "probs"}]}, Asked(("x",), "probs:json, no id", True)),
        (
            {**tensor(["x"]), "outputs": [{"name": "p", "parameters": {"binary_data": True}}]},
            Asked(("x",), "p:binary, no id", True),
        ),
        (
            {**tensor(["x"]), "parameters": {"binary_data_output": True}},
            Asked(("x",), "all binary, no id", True),
        ),
        (tensor(["x"], parameters={"content_type": "str"}), X),
    ],
)
def test_requests(document: Any, expected: Asked) -> None:
    """Flat or in rows, with id or without, with the outputs that are asked for and how."""
    assert asked(OIP, document) == expected


def test_binary_request() -> None:
    """Texts behind the JSON, each with its length, are the same request."""
    found = OIP.parse_request(binary_request([b"x", "é\n}".encode()]))
    assert found == Asked(("x", "é\n}"), "all, no id", True)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (binary_request([b"x"])[:-1], Unpaired.REQUEST_NOT_JSON),
        (binary_request([b"x"]) + b"!", Unpaired.REQUEST_NOT_JSON),
        (binary_request([b"\xff"]), Unpaired.REQUEST_NOT_TEXT),
        (binary_request([b""]), Unpaired.REQUEST_EMPTY),
        (binary_request([b"xxxx"])[:-8] + b"\xff\xff\xff\xff" + b"xxxx", Unpaired.REQUEST_NOT_TEXT),
    ],
)
def test_broken_binary_requests(body: bytes, reason: Unpaired) -> None:
    """Sizes that do not fit, lengths that lie, bytes that are no text."""
    assert OIP.parse_request(body) is reason


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ([], Unpaired.REQUEST_NOT_TEXT),
        ({"inputs": "x"}, Unpaired.REQUEST_NOT_TEXT),
        ({"inputs": []}, Unpaired.REQUEST_NOT_TEXT),
        ({"inputs": [1]}, Unpaired.REQUEST_NOT_TEXT),
        ({"inputs": tensor(["x"])["inputs"] * 2}, Unpaired.REQUEST_NOT_TEXT),
        (tensor([0.5], datatype="FP32"), Unpaired.REQUEST_NUMERIC),
        (tensor([1], datatype="INT64"), Unpaired.REQUEST_NUMERIC),
        (tensor(["eA=="], parameters={"content_type": "base64"}), Unpaired.REQUEST_NOT_TEXT),
        (tensor(None), Unpaired.REQUEST_NOT_TEXT),
        (tensor([]), Unpaired.REQUEST_EMPTY),
        (tensor(["x", "y"], [1]), Unpaired.REQUEST_NOT_TEXT),
        (tensor(["x"], [-1]), Unpaired.REQUEST_NOT_TEXT),
        (tensor([1]), Unpaired.REQUEST_NOT_TEXT),
        ({**tensor(["x"]), "parameters": {"sequence_id": 7}}, Unpaired.REQUEST_PARAMETERS),
        (
            {**tensor(["x"]), "outputs": [{"name": "p", "parameters": {"classification": 1}}]},
            Unpaired.REQUEST_PARAMETERS,
        ),
    ],
)
def test_requests_that_make_no_pair(document: Any, reason: Unpaired) -> None:
    """Features, several inputs, shapes that disagree, outputs in another form: each has its reason."""
    assert ask(OIP, document) is reason


def test_declared_names() -> None:
    """Where the task names its tensors, others are not its."""
    named = dialect("open-inference", open_inference={"input": "TEXT", "output": "PROBS"})
    assert ask(named, tensor(["x"])) is Unpaired.REQUEST_NOT_TEXT
    assert ask(named, tensor(["x"], name="TEXT")) == X
    reply = orjson.dumps(outputs([0.7, 0.2, 0.1], [1, 3]))
    assert named.parse_response(reply, X) is Unpaired.TEACHER_MALFORMED
    assert named.parse_response(reply.replace(b"probs", b"PROBS"), X) == (ONE,)


@pytest.mark.parametrize(
    "body",
    [
        orjson.dumps(outputs([0.7, 0.2, 0.1, 0.1, 0.3, 0.6], [2, 3])),
        orjson.dumps(outputs([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]], [2, 3])),
        binary_reply("FP64", [0.7, 0.2, 0.1, 0.1, 0.3, 0.6], [2, 3]),
    ],
)
def test_reply_reads_back(body: bytes) -> None:
    """Flat, in rows or binary: the student's reply is the teacher's with other values, shape and id."""
    assert OIP.parse_response(body, XY) == (ONE, TWO)
    again = rendered(OIP, (TWO,), X, body)
    assert OIP.parse_response(again, X) == (TWO,)
    assert b'"model_version":"3"' in again
    assert b'"shape":[1,3]' in again


@pytest.mark.parametrize(("datatype", "tolerance"), [("FP32", 1e-7), ("FP16", 1e-3), ("BF16", 1e-2)])
def test_narrow_binary_floats(datatype: str, tolerance: float) -> None:
    """Values in every float type come back within its precision, in the student's reply as in the teacher's."""
    teacher = binary_reply(datatype, [0.7, 0.2, 0.1], [1, 3])
    reply = OIP.render_reply((TWO,), X, teacher)
    assert reply is not None
    found = OIP.parse_response(reply.body, X)
    assert not isinstance(found, Unpaired)
    assert found[0].probabilities == pytest.approx(TWO.probabilities, abs=tolerance)
    length = int(dict(reply.fields)[b"inference-header-content-length"])
    assert orjson.loads(reply.body[:length])["outputs"][0]["parameters"]["binary_data_size"] == len(
        reply.body[length:]
    )


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"outputs": []},
        {"outputs": [{"name": "l", "datatype": "BYTES", "data": ["a"], "shape": [1]}]},
        outputs([0.7, 0.2], [1, 3]),
        outputs([0.7, 0.2, 0.1] * 3, [3, 3]),
        outputs(None, [2, 3]),
        outputs([0.7], ["x"]),  # type: ignore[list-item]
        outputs(["a", "b", "c"], [1, 3]),
        outputs([], [0, 3]),
        [],
    ],
)
def test_replies_that_cannot_be_read(document: Any) -> None:
    """No tensor of probabilities, or one that disagrees with its shape, its type or the request."""
    assert OIP.parse_response(orjson.dumps(document), XY) is Unpaired.TEACHER_MALFORMED


@pytest.mark.parametrize(
    ("document", "errors"),
    [
        (outputs([0.7, 0.2, 0.1], [1, 3]), [None, ObservationError.ABSENT]),
        (outputs([0.7, 0.3] * 2, [2, 2]), [ObservationError.WRONG_CLASSES] * 2),
        (outputs([3, -1, 0.5] * 2, [2, 3]), [ObservationError.OUT_OF_RANGE] * 2),
    ],
)
def test_replies_with_errors(document: Any, errors: list[ObservationError | None]) -> None:
    """Too few rows, too few classes, logits instead of probabilities."""
    found = OIP.parse_response(orjson.dumps(document), XY)
    assert not isinstance(found, Unpaired)
    assert [observation.error for observation in found] == errors


def test_nan_in_binary() -> None:
    """JSON has no NaN, binary data has."""
    found = OIP.parse_response(binary_reply("FP32", [float("nan"), 0.5, 0.5], [1, 3]), X)
    assert found == (Observation(None, ObservationError.NOT_FINITE),)


def with_more(*more: dict[str, Any]) -> bytes:
    document = outputs([0.7, 0.2, 0.1, 0.1, 0.3, 0.6], [2, 3])
    document["outputs"] = [*more, *document["outputs"]]
    return orjson.dumps(document)


LABELS = {"name": "label", "datatype": "BYTES", "shape": [2], "data": ["a", "c"]}
TOPS = {"name": "top", "datatype": "FP32", "shape": [2, 1], "data": [0.7, 0.6]}
LOGITS = {"name": "logits", "datatype": "FP32", "shape": [2, 3], "data": [9, 1, 0, 1, 2, 3]}


def test_names_and_top_probabilities_are_imitated() -> None:
    """Class names and their probabilities beside the distribution are the student's to give."""
    body = with_more(LABELS, TOPS)
    assert OIP.parse_response(body, XY) == (ONE, TWO)
    written = orjson.loads(rendered(OIP, (TWO,), X, body))["outputs"]
    assert [(output["shape"], output["data"]) for output in written] == [
        ([1], ["c"]),
        ([1, 1], [0.6]),
        ([1, 3], [0.1, 0.3, 0.6]),
    ]


@pytest.mark.parametrize(
    "body",
    [
        with_more(LOGITS),
        with_more({**LABELS, "data": ["c", "a"]}),
        orjson.dumps(outputs([0.7, 0.2, 0.1], [1, 3], explanation="because of Ann")),
        orjson.dumps(outputs([0.7, 0.2, 0.1], [1, 3], parameters={"user": "Ann"})),
    ],
)
def test_what_a_student_cannot_tell_is_not_imitated(body: bytes) -> None:
    """Logits, unknown names and whatever may belong to the last caller: read for the record, not imitated."""
    found = OIP.parse_response(body, XY)
    assert not isinstance(found, Unpaired)
    assert found[0] == ONE
    assert OIP.render_reply((TWO,), X, body) is None


def test_id_is_echoed_where_the_teacher_writes_it() -> None:
    """The caller's id; a new one in place of one that the server invents."""
    like = orjson.dumps({"id": "old", **outputs([0.7, 0.2, 0.1], [1, 3])})
    told = orjson.loads(rendered(OIP, (ONE,), Asked(("x",), "all, id", True, "mine"), like))
    invented = orjson.loads(rendered(OIP, (ONE,), X, like))
    assert next(iter(told)) == "id"
    assert told["id"] == "mine"
    assert invented["id"] not in ("old", "mine", None)
