"""Reading requests and replies of both dialects, and writing the student's."""

from typing import Any

import orjson
import pytest

from gateway.dialects import DIALECTS
from gateway.dialects.dialect import Answered, Asked
from gateway.dialects.huggingface import HUGGINGFACE
from gateway.dialects.open_inference import OPEN_INFERENCE
from ledger.exchange import Unpaired
from ledger.observation import Observation, ObservationError

CLASSES = ("a", "b", "c")
ONE, TWO = Observation((0.7, 0.2, 0.1)), Observation((0.1, 0.3, 0.6))


def entries(*scores: float, names: str = "abc") -> list[dict[str, Any]]:
    return [{"label": name, "score": score} for name, score in zip(names, scores, strict=True)]


def tensor(data: Any, **changes: Any) -> dict[str, Any]:
    return {"inputs": [{"name": "t", "shape": [1], "datatype": "BYTES", "data": data, **changes}]}


def asked(dialect: str, document: Any) -> Asked | Unpaired:
    return DIALECTS[dialect].parse_request(orjson.dumps(document))


@pytest.mark.parametrize(
    ("document", "texts", "servable"),
    [
        ({"inputs": "x y"}, ("x y",), True),
        ({"inputs": ["x", "y"]}, ("x", "y"), True),
        ({"inputs": [["x"], ["y"]]}, ("x", "y"), True),
        ({"inputs": "x", "truncate": True}, ("x",), True),
        ({"inputs": "x", "parameters": {}}, ("x",), True),
        ({"inputs": "x", "parameters": {"top_k": 1}}, ("x",), False),
        ({"inputs": "x", "raw_scores": True}, ("x",), False),
    ],
)
def test_huggingface_requests(document: Any, texts: tuple[str, ...], servable: bool) -> None:
    """One text, several, TEI's batch; what asks for more than classes and scores is not the student's."""
    found = asked("huggingface", document)
    assert isinstance(found, Asked)
    assert (found.texts, found.servable) == (texts, servable)


@pytest.mark.parametrize(
    ("document", "texts", "servable"),
    [
        (tensor(["x", "y"]), ("x", "y"), True),
        (tensor([["x"], ["y"]]), ("x", "y"), True),
        ({**tensor(["x"]), "id": "q"}, ("x",), True),
        ({**tensor(["x"]), "outputs": [{"name": "probs"}]}, ("x",), False),
        (tensor(["x"], parameters={"content_type": "str"}), ("x",), True),
    ],
)
def test_open_inference_requests(document: Any, texts: tuple[str, ...], servable: bool) -> None:
    """Flat or in rows, with id or without."""
    found = asked("open-inference", document)
    assert isinstance(found, Asked)
    assert (found.texts, found.servable) == (texts, servable)


@pytest.mark.parametrize(
    ("dialect", "document", "reason"),
    [
        ("huggingface", [], Unpaired.REQUEST_NOT_TEXT),
        ("huggingface", {}, Unpaired.REQUEST_NOT_TEXT),
        ("huggingface", {"inputs": {"text": "x"}}, Unpaired.REQUEST_NOT_TEXT),
        ("huggingface", {"inputs": ["x", 1]}, Unpaired.REQUEST_NOT_TEXT),
        ("huggingface", {"inputs": [["x", "y"]]}, Unpaired.REQUEST_NOT_TEXT),
        ("huggingface", {"inputs": []}, Unpaired.REQUEST_EMPTY),
        ("huggingface", {"inputs": ["x", " "]}, Unpaired.REQUEST_EMPTY),
        ("open-inference", {"inputs": "x"}, Unpaired.REQUEST_NOT_TEXT),
        ("open-inference", {"inputs": []}, Unpaired.REQUEST_NOT_TEXT),
        ("open-inference", tensor(["x"], datatype="FP32"), Unpaired.REQUEST_NOT_TEXT),
        (
            "open-inference",
            tensor(["eA=="], parameters={"content_type": "base64"}),
            Unpaired.REQUEST_NOT_TEXT,
        ),
        ("open-inference", tensor(None), Unpaired.REQUEST_NOT_TEXT),
        ("open-inference", tensor([]), Unpaired.REQUEST_EMPTY),
    ],
)
def test_requests_that_ask_nothing(dialect: str, document: Any, reason: Unpaired) -> None:
    """Everything else has its reason."""
    assert asked(dialect, document) is reason


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b'{"inputs":"\\ud800"}', b"[" * 2000 + b"]" * 2000])
def test_bodies_that_are_no_json(dialect: str, body: bytes) -> None:
    """Broken, foreign and hostile bytes are a reason, never an exception."""
    assert isinstance(DIALECTS[dialect].parse_request(body), Unpaired)
    assert DIALECTS[dialect].parse_response(body, Asked(("x",), "text", True), CLASSES) is None


@pytest.mark.parametrize(
    ("document", "nested"), [(entries(0.7, 0.2, 0.1), False), ([entries(0.7, 0.2, 0.1)], True)]
)
def test_single_text_flat_or_nested(document: Any, nested: bool) -> None:
    """TEI answers one text with a flat list, the Inference API with a nested one: both are read."""
    found = HUGGINGFACE.parse_response(orjson.dumps(document), Asked(("x",), "text", True), CLASSES)
    assert found == Answered((ONE,), {"nested": nested, "label_first": True})


@pytest.mark.parametrize(
    ("document", "errors"),
    [
        ([entries(0.7, 0.2, 0.1), entries(0.1, 0.3, 0.6)], [None, None]),
        ([entries(0.7, 0.2, 0.1)], [None, ObservationError.ABSENT]),
        ([entries(0.7, 0.3, names="ab"), entries(0.1, 0.3, 0.6)], [ObservationError.WRONG_CLASSES, None]),
        (
            [entries(0.7, 0.2, 0.1, names="abd"), []],
            [ObservationError.WRONG_CLASSES, ObservationError.MALFORMED],
        ),
        ([entries(0.9, 0.9, 0.9), "x"], [ObservationError.NOT_NORMALISED, ObservationError.MALFORMED]),
        (
            [[{"label": "a"}] * 3, entries(2, -1, 0)],
            [ObservationError.MALFORMED, ObservationError.OUT_OF_RANGE],
        ),
    ],
)
def test_two_texts(document: Any, errors: list[ObservationError | None]) -> None:
    """Each text has its own observation or its own error."""
    found = HUGGINGFACE.parse_response(orjson.dumps(document), Asked(("x", "y"), "list", True), CLASSES)
    assert found is not None
    assert [observation.error for observation in found.observations] == errors


@pytest.mark.parametrize("document", [{}, [], "x", entries(0.7, 0.2, 0.1), [entries(1, 0, 0)] * 3])
def test_replies_that_answer_something_else(document: Any) -> None:
    """An error object, one list for two texts, or more lists than texts cannot be paired."""
    assert (
        HUGGINGFACE.parse_response(orjson.dumps(document), Asked(("x", "y"), "list", True), CLASSES) is None
    )


@pytest.mark.parametrize("label_first", [True, False])
@pytest.mark.parametrize(("texts", "nested"), [(("x",), True), (("x",), False), (("x", "y"), True)])
def test_huggingface_reply_reads_back(texts: tuple[str, ...], nested: bool, label_first: bool) -> None:
    """The student's reply has the form asked for, sorted by score, and says what the student said."""
    said = (ONE, TWO)[: len(texts)]
    form = {"nested": nested, "label_first": label_first}
    question = Asked(texts, "any", True)
    body = HUGGINGFACE.render_reply(said, CLASSES, question, form)
    assert HUGGINGFACE.parse_response(body, question, CLASSES) == Answered(said, form)
    first = orjson.loads(body)[0][0] if nested else orjson.loads(body)[0]
    assert first == {"label": "a", "score": 0.7}


def outputs(data: Any, shape: list[int], **changes: Any) -> dict[str, Any]:
    output = {"name": "probs", "datatype": "FP32", "shape": shape, "data": data}
    return {"model_name": "m", "model_version": "3", "id": "old", "outputs": [output], **changes}


@pytest.mark.parametrize(
    "document",
    [
        outputs([0.7, 0.2, 0.1, 0.1, 0.3, 0.6], [2, 3]),
        outputs([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]], [2, 3]),
    ],
)
def test_open_inference_reply_reads_back(document: Any) -> None:
    """Flat or in rows; the student's reply is the teacher's with other values, shape and id."""
    two = Asked(("x", "y"), "tensor", True)
    found = OPEN_INFERENCE.parse_response(orjson.dumps(document), two, CLASSES)
    assert found is not None
    assert found.observations == (ONE, TWO)
    assert found.form is not None
    body = OPEN_INFERENCE.render_reply((TWO,), CLASSES, Asked(("z",), "tensor", True, "new"), found.form)
    reply = orjson.loads(body)
    assert (reply["id"], reply["model_version"], reply["outputs"][0]["shape"]) == ("new", "3", [1, 3])
    again = OPEN_INFERENCE.parse_response(body, Asked(("z",), "tensor", True), CLASSES)
    assert again is not None
    assert again.observations == (TWO,)


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"outputs": []},
        {"outputs": [{"datatype": "BYTES", "data": ["a"], "shape": [1]}]},
        outputs([0.7, 0.2], [1, 3]),
        outputs([0.7, 0.2, 0.1] * 3, [3, 3]),
        outputs(None, [2, 3]),
        outputs([0.7], ["x"]),
        [],
    ],
)
def test_open_inference_replies_that_cannot_be_read(document: Any) -> None:
    """No tensor of probabilities, or one that disagrees with its shape or with the request."""
    assert (
        OPEN_INFERENCE.parse_response(orjson.dumps(document), Asked(("x", "y"), "t", True), CLASSES) is None
    )


def test_reply_with_two_outputs_is_read_but_not_imitated() -> None:
    """A reply with labels beside the probabilities can be measured; a student's could not take its form."""
    document = outputs([0.7, 0.2, 0.1], [1, 3])
    document["outputs"].insert(0, {"name": "label", "datatype": "BYTES", "shape": [1], "data": ["a"]})
    found = OPEN_INFERENCE.parse_response(orjson.dumps(document), Asked(("x",), "tensor", True), CLASSES)
    assert found == Answered((ONE,), None)
