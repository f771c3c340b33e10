"""No body of a peer raises in any dialect, and what is rendered reads back."""

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.amending import RestoredEvents
from gateway.dialects.dialect import Asked, Dialect
from ledger.exchange import Unpaired
from ledger.observation import Observation
from tests.gateway.dialects import chat, test_json_places, test_open_inference
from tests.gateway.dialects.tasks import CLASSES, dialect
from tests.gateway.dialects.test_huggingface import entries
from tests.gateway.dialects.test_spans import JSON

DIALECTS = {
    "huggingface": dialect("huggingface"),
    "open-inference": dialect("open-inference"),
    "openai-chat": dialect("openai-chat", openai={"models": ["m"], "request_logprobs": True}),
    "json": dialect("json"),
    "json label": dialect("json", ("a", "b"), json={"text": "", "label": "/label", "confidence": "/p"}),
}
FEW = settings(max_examples=40)
QUESTIONS = [
    Asked(("x",), shape, True)
    for shape in ("text", "list", "0 reply", "0 stream", "all, no id", "all binary")
]
HOSTILE = [
    b"",
    b" ",
    b"{",
    b"\xff\xfe{",
    b"\xef\xbb\xbf{}",
    b"null",
    b"NaN",
    b"[NaN]",
    b'{"inputs":"\\ud800"}',
    b'{"inputs":' + b"[" * 10**5 + b"]" * 10**5 + b"}",
    b"[" * 1000 + b"]" * 1000,
    b'{"a":' * 1000 + b"1" + b"}" * 1000,
    b'{"inputs":' * 300 + b'"x"' + b"}" * 300,
    b"{" + b",".join(b'"%d":0' % n for n in range(10**5)) + b"}",
    b'{"inputs":9223372036854775808,"messages":[18446744073709551616],"scores":[1e308,1e308,1e308]}',
    b'{"inputs":"a","inputs":[],"inputs":["b"]}',
    b'{"model":"m","messages":[{"role":{},"content":[]},{"role":"user","content":"x"}]}',
    b'{"model":"m","messages":[{"role":"user","content":"x"}],"stop":{"a":1}}',
    b'{"outputs":[{"name":"p","datatype":"FP32","shape":[1,99999999999999999999],"data":[]}]}',
    b'{"outputs":[{"name":"p","datatype":"FP32","shape":[4294967296,4294967296,3],"data":[1]}]}',
    b'{"outputs":[{"name":"p","datatype":"FP32","shape":[],"data":[1]}]}',
    b'{"outputs":[{"name":"p","datatype":"FP32","shape":[0],"data":[]}]}',
    b'{"outputs":[{"name":"p","datatype":"FP32","shape":[1,3],"parameters":{"binary_data_size":12}}]}',
    b'{"inputs":[{"name":"p","datatype":"BYTES","shape":[1],"parameters":{"binary_data_size":-4}}]}\0\0\0\0',
    b"data: " * 10**4,
    b"\n" * 10**5,
    b"data: [DONE]",
    b'data: {"choices":[{"delta":[],"logprobs":{"content":[[]]},"finish_reason":{}}]}\n\ndata: [DONE]\n\n',
]


def try_everything(form: Dialect, body: bytes) -> None:
    found = form.parse_request(body)
    assert isinstance(found, Asked | Unpaired)
    if form.amend is not None:
        amendment = form.amend(body)
        if amendment is not None:
            assert isinstance(orjson.loads(amendment.body), dict)
    for question in QUESTIONS:
        observations = form.parse_response(body, question)
        if not isinstance(observations, Unpaired):
            assert len(observations) == 1
            said = (Observation((0.5, 0.25, 0.25)),) if form is not DIALECTS["json label"] else SAID_OF_TWO
            if observations[0].error is None:
                form.render_reply(said, question, body)


SAID_OF_TWO = (Observation((0.25, 0.75)),)


@pytest.mark.parametrize("name", DIALECTS)
@pytest.mark.parametrize("body", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_bodies(name: str, body: bytes) -> None:
    """Depth, width, foreign encodings, lying sizes: a value, never an exception."""
    try_everything(DIALECTS[name], body)


@pytest.mark.parametrize("name", DIALECTS)
@FEW
@given(st.binary(max_size=200))
def test_any_bytes(name: str, body: bytes) -> None:
    """Any bytes at all."""
    try_everything(DIALECTS[name], body)


KEYS = st.sampled_from(
    """inputs parameters text model messages role content choices message delta logprobs token top_logprobs index
    finish_reason outputs name datatype shape data label score scores p binary_data_size id n stop""".split()  # noqa: SIM905
)
WORDS = st.sampled_from(["m", "user", "FP32", "BYTES", "a", "x", "stop"])
NEAR = st.recursive(
    JSON | WORDS | st.floats(0, 1) | st.integers(0, 3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=25,
)


@pytest.mark.parametrize("name", DIALECTS)
@FEW
@given(NEAR)
def test_any_document(name: str, document: Any) -> None:
    """Documents made of the right words in the wrong places, as a body and as the data of an event."""
    body = orjson.dumps(document)
    try_everything(DIALECTS[name], body)
    try_everything(DIALECTS[name], b"data: " + body + b"\n\ndata: [DONE]\n\n")


@pytest.mark.parametrize("name", DIALECTS)
@FEW
@given(st.sampled_from(["truncate", "flip", "double"]), st.integers(0, 2**32), st.sampled_from(QUESTIONS))
def test_damaged_replies(name: str, damage: str, place: int, question: Asked) -> None:
    """Real replies with a byte changed, cut anywhere or sent twice."""
    for whole in REPLIES:
        at = place % len(whole)
        body = {
            "truncate": whole[:at],
            "flip": whole[:at] + bytes([whole[at] ^ (1 + place % 255)]) + whole[at + 1 :],
            "double": whole + whole,
        }[damage]
        try_everything(DIALECTS[name], body)


REPLIES = [
    orjson.dumps(entries(0.7, 0.2, 0.1)),
    orjson.dumps(test_open_inference.outputs([0.7, 0.2, 0.1], [1, 3])),
    test_open_inference.binary_reply("FP32", [0.7, 0.2, 0.1], [1, 3]),
    test_open_inference.binary_request([b"x"]),
    chat.completion("a", chat.logprobs([("a", {"a": 0.7, "b": 0.2})])),
    chat.stream(chat.chunks(["a"])),
    b'{"scores": [0.7, 0.2, 0.1]}',
]

PROBABILITIES = st.tuples(*[st.floats(0.001, 1)] * 3).map(
    lambda weights: tuple(weight / sum(weights) for weight in weights)
)


@pytest.mark.parametrize(
    ("name", "question", "like"),
    [
        ("huggingface", QUESTIONS[0], orjson.dumps(entries(0.7000000000000001, 0.2, 0.1))),
        ("open-inference", QUESTIONS[4], test_open_inference.binary_reply("FP64", [0.7, 0.2, 0.1], [1, 3])),
        (
            "open-inference",
            QUESTIONS[4],
            orjson.dumps(test_open_inference.outputs([0.7000000000000001, 0.2, 0.1], [1, 3])),
        ),
        ("json", test_json_places.X, b'{"scores": [0.7000000000000001, 0.2, 0.1]}'),
    ],
)
@FEW
@given(PROBABILITIES)
def test_what_is_rendered_reads_back(
    name: str, question: Asked, like: bytes, probabilities: tuple[float, ...]
) -> None:
    """In the form of a teacher that writes full precision the student's reply loses nothing."""
    said = (Observation(probabilities),)
    reply = DIALECTS[name].render_reply(said, question, like)
    assert reply is not None
    assert DIALECTS[name].parse_response(reply.body, question) == said


@pytest.mark.parametrize(
    ("question", "like"), [(QUESTIONS[2], REPLIES[4]), (QUESTIONS[3], REPLIES[5])], ids=["reply", "stream"]
)
@FEW
@given(PROBABILITIES)
def test_class_that_is_rendered_reads_back(
    question: Asked, like: bytes, probabilities: tuple[float, ...]
) -> None:
    """Words carry the class alone."""
    said = Observation(probabilities)
    form = DIALECTS["openai-chat"]
    reply = form.render_reply((said,), question, like)
    assert reply is not None
    found = form.parse_response(reply.body, question)
    assert not isinstance(found, Unpaired)
    assert (found[0].top, found[0].hard, len(CLASSES)) == (said.top, True, 3)


@FEW
@given(st.lists(st.integers(1, 40), max_size=60))
def test_streams_are_restored_in_any_pieces(sizes: list[int]) -> None:
    """However the network cuts a stream, the caller gets the bytes of one without logprobs."""
    told = chat.logprobs([("a", {"a": 0.7, "b": 0.2})])
    documents = chat.chunks(["a"], [told], usage=True)
    plain = chat.stream(chat.chunks(["a"], usage=True), "\r\n")
    rest, received = chat.stream(documents, "\r\n"), b""
    amendment = DIALECTS["openai-chat"].amend(b'{"model":"m","messages":[{"role":"user","content":"x"}]}')
    assert amendment is not None
    restoring = RestoredEvents(amendment.restored)
    for size in sizes:
        received += restoring.feed(rest[:size])
        rest = rest[size:]
    assert received + restoring.feed(rest) + restoring.end() == plain
