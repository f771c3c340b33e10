"""Plain JSON by pointers."""

from typing import Any

import orjson
import pytest

from gateway.dialects.dialect import Asked
from ledger.exchange import Unpaired
from ledger.observation import Observation, ObservationError
from tests.gateway.dialects.tasks import ONE, TWO, ask, asked, dialect, rendered

PLAIN = dialect("json")
X = Asked(("x",), "", True)


def labelled(classes: tuple[str, ...] = ("a", "b"), **places: Any) -> Any:
    return dialect("json", classes, json={"text": "/q", "label": "/label", **places})


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ({}, Unpaired.REQUEST_NOT_TEXT),
        ({"inputs": []}, Unpaired.REQUEST_NOT_TEXT),
        ({"inputs": [7]}, Unpaired.REQUEST_NOT_TEXT),
        ({"inputs": {"0": "x"}}, None),
        ({"inputs": [" "]}, Unpaired.REQUEST_EMPTY),
        ("inputs", Unpaired.REQUEST_NOT_TEXT),
    ],
)
def test_requests(document: Any, reason: Unpaired | None) -> None:
    """The pointer leads to a text, or there is a reason; a number is an index or a name, as RFC 6901 has it."""
    found = ask(PLAIN, document)
    assert found is reason if reason else isinstance(found, Asked)


def test_shape_is_everything_but_the_text() -> None:
    """Requests that differ in any parameter are of different shapes, unless the task says it does not matter."""
    careless = dialect("json", json={"text": "/q", "probabilities": "", "ignored": ["/id"]})
    same = [asked(careless, {"q": "x", "k": 1, "id": 1}), asked(careless, {"id": 2, "k": 1, "q": "y"})]
    other = asked(careless, {"q": "x", "k": 2, "id": 1})
    assert same[0].shape == same[1].shape != other.shape


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"scores": [0.7, 0.2, 0.1]}, ONE),
        ({"scores": {"b": 0.2, "c": 0.1, "a": 0.7}}, ONE),
        ({"scores": {"b": 0.2, "c": 0.8}}, Observation(None, ObservationError.WRONG_CLASSES)),
        ({"scores": [0.7, 0.3]}, Observation(None, ObservationError.WRONG_CLASSES)),
        ({"scores": "a"}, Observation(None, ObservationError.MALFORMED)),
        ({"scores": [True, 0, 0]}, Observation(None, ObservationError.MALFORMED)),
    ],
)
def test_probabilities(document: Any, expected: Observation) -> None:
    """A list in the order of the classes, or an object by class name."""
    assert PLAIN.parse_response(orjson.dumps(document), X) == (expected,)


def test_no_answer_where_the_pointer_leads() -> None:
    """A reply without the place is not the task's form."""
    assert PLAIN.parse_response(b'{"error":"x"}', X) is Unpaired.TEACHER_MALFORMED
    assert labelled().parse_response(b'{"label":1}', X) is Unpaired.TEACHER_MALFORMED
    assert labelled().parse_response(b'{"label":"z"}', X) is Unpaired.LABEL_UNKNOWN


@pytest.mark.parametrize(
    ("classes", "places", "expected"),
    [
        (("a", "b"), {"confidence": "/p"}, Observation((0.25, 0.75))),
        (("a", "b"), {}, Observation((0.0, 1.0), None, True)),
        (("a", "b", "c"), {"confidence": "/p"}, Observation((0.0, 1.0, 0.0), None, True)),
    ],
)
def test_labels(classes: tuple[str, ...], places: Any, expected: Observation) -> None:
    """A confidence tells the distribution over two classes; else only the class is known, and it is said so."""
    form = labelled(classes, **places)
    assert form.parse_response(b'{"label":"b","p":0.75}', X) == (expected,)


@pytest.mark.parametrize("scores", [[0.1, 0.2, 0.7], {"c": 0.7, "a": 0.1, "b": 0.2}])
def test_reply_reads_back(scores: Any) -> None:
    """The teacher's document with the student's numbers in place of its own, other bytes untouched."""
    like = orjson.dumps({"note": None, "scores": scores, "tags": []}, option=orjson.OPT_INDENT_2)
    body = rendered(PLAIN, (TWO,), X, like)
    assert PLAIN.parse_response(body, X) == (TWO,)
    assert body.replace(b" ", b"").startswith(b'{\n"note":null,\n"scores":')


def test_labelled_reply() -> None:
    """Label, confidence, what is the same for all and a new identifier of the same look."""
    form = labelled(confidence="/p", constant=["/model"], fresh=["/id"])
    like = b'{"id": "req-01ab", "model": {"v": "7"}, "label": "a", "p": 0.9001}'
    written = orjson.loads(rendered(form, (Observation((0.123456, 0.876544)),), X, like))
    assert (written["label"], written["p"], written["model"]) == ("b", 0.8765, {"v": "7"})
    assert written["id"] != "req-01ab"
    assert len(written["id"]) == len("req-01ab")


def test_anothers_words_are_not_repeated() -> None:
    """Whatever is neither declared nor empty may be the last caller's: the teacher answers."""
    like = b'{"scores": [0.7, 0.2, 0.1], "echo": "Ann asked this"}'
    assert PLAIN.parse_response(like, X) == (ONE,)
    assert PLAIN.render_reply((TWO,), X, like) is None
