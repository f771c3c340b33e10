"""Hugging Face and TEI text classification: what is asked, what is read, what the student writes."""

from typing import Any

import orjson
import pytest

from gateway.dialects.dialect import Asked
from ledger.exchange import Unpaired
from ledger.observation import ObservationError
from tests.gateway.dialects.tasks import CLASSES, ONE, TWO, ask, asked, dialect, rendered

HUGGINGFACE = dialect("huggingface")
X, XY = Asked(("x",), "text", True), Asked(("x", "y"), "list", True)


def entries(*scores: float, names: str = "abc") -> list[dict[str, Any]]:
    return [{"label": name, "score": score} for name, score in zip(names, scores, strict=True)]


@pytest.mark.parametrize(
    ("document", "texts", "shape"),
    [
        ({"inputs": "x y"}, ("x y",), "text"),
        ({"inputs": ["x", "y"]}, ("x", "y"), "list"),
        ({"inputs": ["x"]}, ("x",), "list of one"),
        ({"inputs": [["x"], ["y"]]}, ("x", "y"), "batch"),
        ({"inputs": "x", "truncate": True}, ("x",), "text"),
        ({"inputs": "x", "raw_scores": False}, ("x",), "text"),
        ({"inputs": "x", "parameters": {}}, ("x",), "text"),
        ({"inputs": "x", "parameters": {"top_k": 3, "function_to_apply": "softmax"}}, ("x",), "text"),
        ({"inputs": "x", "parameters": {"top_k": None}}, ("x",), "text"),
    ],
)
def test_requests(document: Any, texts: tuple[str, ...], shape: str) -> None:
    """One text, several, TEI's batch; parameters that leave the whole distribution are the student's too."""
    assert asked(HUGGINGFACE, document) == Asked(texts, shape, True)


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ([], Unpaired.REQUEST_NOT_TEXT),
        ({}, Unpaired.REQUEST_NOT_TEXT),
        ({"inputs": {"text": "x"}}, Unpaired.REQUEST_NOT_TEXT),
        ({"inputs": ["x", 1]}, Unpaired.REQUEST_NOT_TEXT),
        ({"inputs": [["x", "y", "z"]]}, Unpaired.REQUEST_NOT_TEXT),
        ({"inputs": [["x", "y"]]}, Unpaired.REQUEST_PAIR),
        ({"inputs": [["x", "y"], ["z"]]}, Unpaired.REQUEST_PAIR),
        ({"inputs": []}, Unpaired.REQUEST_EMPTY),
        ({"inputs": ["x", " "]}, Unpaired.REQUEST_EMPTY),
        ({"inputs": "x", "parameters": {"top_k": 1}}, Unpaired.REQUEST_PARAMETERS),
        ({"inputs": "x", "parameters": {"function_to_apply": "none"}}, Unpaired.REQUEST_PARAMETERS),
        ({"inputs": "x", "parameters": [1]}, Unpaired.REQUEST_PARAMETERS),
        ({"inputs": "x", "raw_scores": True}, Unpaired.REQUEST_PARAMETERS),
        ({"inputs": "x", "prompt_name": "query"}, Unpaired.REQUEST_PARAMETERS),
    ],
)
def test_requests_that_make_no_pair(document: Any, reason: Unpaired) -> None:
    """Everything else has its reason; parameters that change the meaning have theirs."""
    assert ask(HUGGINGFACE, document) is reason


@pytest.mark.parametrize("document", [entries(0.7, 0.2, 0.1), [entries(0.7, 0.2, 0.1)]])
def test_single_text_flat_or_nested(document: Any) -> None:
    """TEI answers one text with a flat list, the Inference API with a nested one: both are read."""
    assert HUGGINGFACE.parse_response(orjson.dumps(document), X) == (ONE,)


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
    found = HUGGINGFACE.parse_response(orjson.dumps(document), XY)
    assert not isinstance(found, Unpaired)
    assert [observation.error for observation in found] == errors


@pytest.mark.parametrize("document", [{}, [], "x", [entries(1, 0, 0)] * 3])
def test_replies_that_answer_something_else(document: Any) -> None:
    """An error object or more lists than texts cannot be paired."""
    assert HUGGINGFACE.parse_response(orjson.dumps(document), XY) is Unpaired.TEACHER_MALFORMED


def test_flat_reply_to_two_texts_is_a_pair() -> None:
    """TEI reads a list of two texts as one pair of texts; its single answer belongs to neither of them."""
    body = orjson.dumps(entries(0.7, 0.2, 0.1))
    assert HUGGINGFACE.parse_response(body, XY) is Unpaired.REQUEST_PAIR


@pytest.mark.parametrize("keys", [("label", "score"), ("score", "label")])
@pytest.mark.parametrize(("question", "nested"), [(X, True), (X, False), (XY, True)])
def test_reply_reads_back(question: Asked, nested: bool, keys: tuple[str, str]) -> None:
    """The student's reply has the teacher's form, sorted by score, and says what the student said."""
    said = (ONE, TWO)[: len(question.texts)]
    like = [{key: entry[key] for key in keys} for entry in entries(0.6, 0.3, 0.1, names="cab")]
    body = rendered(HUGGINGFACE, said, question, orjson.dumps([like] if nested else like))
    assert HUGGINGFACE.parse_response(body, question) == said
    first = orjson.loads(body)[0][0] if nested else orjson.loads(body)[0]
    assert list(first.items()) == [(key, {"label": "a", "score": 0.7}[key]) for key in keys]


def test_reply_keeps_the_teachers_spelling() -> None:
    """Spaces after separators, the final line feed and the order of classes are the teacher's."""
    like = (
        b'[{"label": "c", "score": 0.125}, {"label": "a", "score": 0.75}, {"label": "b", "score": 0.125}]\n'
    )
    assert rendered(HUGGINGFACE, (ONE,), X, like) == (
        b'[{"label": "c", "score": 0.1}, {"label": "a", "score": 0.7}, {"label": "b", "score": 0.2}]\n'
    )


def test_reply_that_says_more_is_not_imitated() -> None:
    """What else a teacher says of a text, the student does not know."""
    like = [{**entry, "span": [0, 1]} for entry in entries(0.7, 0.2, 0.1)]
    assert HUGGINGFACE.render_reply((ONE,), X, orjson.dumps(like)) is None


def test_classes_are_the_tasks() -> None:
    """The same reply is another observation in a task whose classes stand in another order."""
    reversed_classes = dialect("huggingface", CLASSES[::-1])
    found = reversed_classes.parse_response(orjson.dumps(entries(0.7, 0.2, 0.1)), X)
    assert not isinstance(found, Unpaired)
    assert found[0].probabilities == (0.1, 0.2, 0.7)
