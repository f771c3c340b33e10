"""Chat completions as a classifier: which requests count, what replies say, what the student writes."""

from typing import Any

import orjson
import pytest

from gateway.dialects.dialect import Asked
from ledger.exchange import Unpaired
from ledger.observation import Observation
from tests.gateway.dialects.chat import chunks, completion, document, logprobs, stream
from tests.gateway.dialects.tasks import ask, asked, dialect, rendered

CLASSES = ("billing", "shipping", "other")
CHAT = dialect("openai-chat", CLASSES)
X, STREAM = Asked(("x",), "0 reply", True), Asked(("x",), "0 stream", True)
SPLIT = [
    ("\n", {"\n": 0.9, "bill": 0.1}),
    ("Ship", {"Ship": 0.7, "bill": 0.2, "Other": 0.05, "The": 0.02}),
    ("ping", {"ping": 1.0}),
]


def request(content: Any = "x", **more: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": content}], **more}


def configured(**settings: Any) -> Any:
    return dialect("openai-chat", CLASSES, openai={"models": ["m"], **settings})


@pytest.mark.parametrize(
    ("document", "shape"),
    [
        (request(), "0 reply"),
        (request(model="other"), "1 reply"),
        (request(stream=True), "0 stream"),
        (request(stream=True, stream_options={"include_usage": True}), "0 stream usage"),
        (request(n=1, tools=[], tool_choice=None, response_format={"type": "text"}), "0 reply"),
        (request(temperature=0, max_tokens=3, seed=1, user="u", logprobs=False), "0 reply"),
        (request(stop=["\n"]), "0 reply"),
        (request([{"type": "text", "text": "x"}]), "0 reply"),
    ],
)
def test_requests(document: Any, shape: str) -> None:
    """One plain answer is asked for: settings of the sampling change nothing in what it means."""
    assert asked(CHAT, document) == Asked(("x",), shape, True)


def test_asked_logprobs_are_the_teachers() -> None:
    """A caller who wants token logprobs gives a good pair, but a student has no tokens to tell of."""
    found = asked(CHAT, request(logprobs=True, top_logprobs=5))
    assert (found.servable, found.shape) == (False, "0 reply logprobs")


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ([], Unpaired.REQUEST_NOT_TEXT),
        ({"model": "m"}, Unpaired.REQUEST_NOT_TEXT),
        ({"model": "m", "messages": []}, Unpaired.REQUEST_NOT_TEXT),
        ({"model": "m", "messages": ["x"]}, Unpaired.REQUEST_NOT_TEXT),
        (request(None), Unpaired.REQUEST_NOT_TEXT),
        (request([{"type": "image_url", "image_url": {"url": "x"}}]), Unpaired.REQUEST_NOT_TEXT),
        ({"model": "m", "messages": [{"role": "assistant", "content": "x"}]}, Unpaired.REQUEST_NOT_TEXT),
        (request(" "), Unpaired.REQUEST_EMPTY),
        (request(model="gpt"), Unpaired.REQUEST_OTHER_MODEL),
        (request(model=["m"]), Unpaired.REQUEST_OTHER_MODEL),
        (request(n=2), Unpaired.REQUEST_PARAMETERS),
        (request(tools=[{"type": "function"}]), Unpaired.REQUEST_PARAMETERS),
        (request(functions=[{}]), Unpaired.REQUEST_PARAMETERS),
        (request(response_format={"type": "json_object"}), Unpaired.REQUEST_PARAMETERS),
        (request(logit_bias={"1": 5}), Unpaired.REQUEST_PARAMETERS),
        (request(stop="ing"), Unpaired.REQUEST_PARAMETERS),
        (request(stop=[7]), Unpaired.REQUEST_PARAMETERS),
        (request(modalities=["audio"]), Unpaired.REQUEST_PARAMETERS),
        (request(echo=True), Unpaired.REQUEST_PARAMETERS),
    ],
)
def test_requests_that_make_no_pair(document: Any, reason: Unpaired) -> None:
    """Several choices, tools, structured output, other models, images: each has its reason."""
    assert ask(CHAT, document) is reason


def test_which_messages_are_the_text() -> None:
    """The last message of the user, or all with their roles: the task says which."""
    messages = [
        {"role": "system", "content": "Classify."},
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "billing"},
        {"role": "user", "content": "b"},
    ]
    conversation = {"model": "m", "messages": messages}
    assert asked(CHAT, conversation).texts == ("b",)
    assert asked(configured(messages="all"), conversation).texts == (
        "system: Classify.\nuser: a\nassistant: billing\nuser: b",
    )


def test_declared_instructions() -> None:
    """A task may say what its instructions are; with others the same text means something else."""
    strict = configured(instructions="Classify.")
    told = {
        "model": "m",
        "messages": [{"role": "developer", "content": "Classify.\n"}, *request()["messages"]],
    }
    assert asked(strict, told).texts == ("x",)
    assert ask(strict, request()) is Unpaired.REQUEST_OTHER_INSTRUCTIONS


@pytest.mark.parametrize("content", ["shipping", "Shipping.", ' "SHIPPING"\n', "**shipping**"])
def test_words_name_a_class(content: str) -> None:
    """Case, space and punctuation around the words do not count; without logprobs it is a hard label."""
    assert CHAT.parse_response(completion(content), X) == (Observation((0.0, 1.0, 0.0), None, True),)


def test_declared_labels() -> None:
    """Several texts may name a class; the first of them is what a student says."""
    form = configured(
        labels={"A billing matter": "billing", "bill": "billing", "S": "shipping", "O": "other"}
    )
    (said,) = form.parse_response(completion("a  BILLING matter."), X)
    assert said.top == 0
    body = rendered(form, (said,), X, completion("S"))
    assert orjson.loads(body)["choices"][0]["message"]["content"] == "A billing matter"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (completion("I think shipping"), Unpaired.LABEL_UNKNOWN),
        (completion(""), Unpaired.LABEL_UNKNOWN),
        (completion(None), Unpaired.LABEL_UNKNOWN),
        (b'{"choices":[]}', Unpaired.TEACHER_MALFORMED),
        (b'{"choices":[{"message":"x"}]}', Unpaired.TEACHER_MALFORMED),
        (b'{"error":{"message":"x"}}', Unpaired.TEACHER_MALFORMED),
        (b"[]", Unpaired.TEACHER_MALFORMED),
    ],
)
def test_replies_that_name_no_class(body: bytes, reason: Unpaired) -> None:
    """Words that are no class, a refusal without words, a document of another form."""
    assert CHAT.parse_response(body, X) is reason


@pytest.mark.parametrize("streamed", [False, True])
def test_logprobs_become_the_distribution(streamed: bool) -> None:
    """Alternatives on the way to the class are the classes' probabilities; the rest is `other`."""
    told = logprobs(SPLIT)
    pieces = [token for token, _ in SPLIT]
    one_each = [{"content": [entry], "refusal": None} for entry in told["content"]]
    body = stream(chunks(pieces, one_each)) if streamed else completion("".join(pieces), told)
    found = CHAT.parse_response(body, STREAM if streamed else X)
    assert not isinstance(found, Unpaired)
    masses = (0.1 + 0.9 * 0.2, 0.9 * 0.7, 0.9 * 0.05)
    assert found[0].other == pytest.approx(1 - sum(masses))
    assert found[0].probabilities == pytest.approx([mass / sum(masses) for mass in masses])
    assert not found[0].hard


def test_shared_beginnings_are_followed_along_the_sampled_path() -> None:
    """Where several classes begin alike, the next token decides; alternatives left open are `other`."""
    form = dialect("openai-chat", ("ship late", "ship lost"), openai={"models": ["m"]})
    tokens = [("ship", {"ship": 0.8, "sh": 0.2}), (" lost", {" lost": 0.75, " late": 0.25})]
    ((found),) = form.parse_response(completion("ship lost", logprobs(tokens)), X)
    assert found.probabilities == pytest.approx((0.25, 0.75))
    assert found.other == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("tokens", "other"),
    [
        ([("shipping", {"shipping": 0.3, "The": 0.6})], 0.7),
        ([("billing", {"billing": 0.9})], 0.1),
        ([("what", {"what": 0.9})], 0.0),
        ([("shipping", {"shipping": 1.0}), (".", {".": 1.0})], 0.0),
    ],
)
def test_weak_or_foreign_logprobs(tokens: Any, other: float) -> None:
    """With most of it on no class, or tokens that spell something else, only the class that was said is kept."""
    ((found),) = CHAT.parse_response(completion("shipping", logprobs(tokens)), X)  # type: ignore[misc]
    assert found.other == pytest.approx(other)
    if tokens[0][0] != "billing":
        assert found.top == 1
    assert found.hard == (other == 0.7 or tokens[0][0] == "what")


@pytest.mark.parametrize(
    "told",
    [
        {"content": [None]},
        {"content": [{"token": "shipping"}]},
        {"content": [{"token": "shipping", "logprob": 3}]},
        {"content": [{"token": "shipping", "logprob": -9999.0, "top_logprobs": 7}]},
        {"content": [{"token": "shipping", "logprob": -1, "top_logprobs": [{"token": 1, "logprob": -1}]}]},
        {"content": "x"},
        [],
    ],
)
def test_broken_logprobs(told: Any) -> None:
    """Logprobs that cannot be read leave the class that was said, as a hard label."""
    ((found),) = CHAT.parse_response(completion("shipping", told), X)  # type: ignore[misc]
    assert (found.probabilities, found.hard) == ((0.0, 1.0, 0.0), True)


def test_streams_are_put_together() -> None:
    """Role, pieces, finish reason, usage, comments between them, in any line ends."""
    for end in ("\n", "\r\n", "\r"):
        body = stream(chunks(["ship", "ping"], usage=True), end)
        body = body.replace(b"data", b": keep-alive" + end.encode() * 2 + b"data", 2)
        assert CHAT.parse_response(body, STREAM) == (Observation((0.0, 1.0, 0.0), None, True),)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (stream(chunks(["shipping"]), done=False), Unpaired.STREAM_UNFINISHED),
        (stream(chunks(["shipping"])[:2]), Unpaired.STREAM_UNFINISHED),
        (stream(chunks(["shipping"]))[:-30], Unpaired.STREAM_UNFINISHED),
        (b"", Unpaired.STREAM_UNFINISHED),
        (stream([{"error": {"message": "overloaded"}}]), Unpaired.STREAM_ERROR),
        (b"event: error\ndata: overloaded\n\n", Unpaired.STREAM_ERROR),
        (b"data: {\n\n", Unpaired.TEACHER_MALFORMED),
        (stream([7]), Unpaired.TEACHER_MALFORMED),
        (stream([{"choices": [{"index": 1, "delta": {"content": "x"}}]}]), Unpaired.TEACHER_MALFORMED),
        (stream(chunks(["ship", "shape"])), Unpaired.LABEL_UNKNOWN),
        (completion("shipping"), None),
    ],
)
def test_streams_that_make_no_pair(body: bytes, reason: Unpaired | None) -> None:
    """No [DONE], no finish reason, an error on the way; a teacher that answers in one document is read too."""
    found = CHAT.parse_response(body, STREAM)
    assert found is reason if reason else isinstance(found, tuple)


SAID = (Observation((0.2, 0.1, 0.7)),)


def test_reply_is_the_teachers_but_for_its_words() -> None:
    """Same bytes, but a new identifier of the same look, the time, the words and counts of 0."""
    like = completion("shipping")
    body = rendered(CHAT, SAID, X, like)
    written, told = orjson.loads(body), orjson.loads(like)
    assert list(written) == list(told)
    assert written["choices"][0]["message"]["content"] == "other"
    assert written["id"] != told["id"]
    assert (written["id"][:9], len(written["id"])) == ("chatcmpl-", len(told["id"]))
    assert written["created"] > told["created"]
    assert written["usage"] == {
        "prompt_tokens": 0,
        "completion_tokens": 0,
        "total_tokens": 0,
        "prompt_tokens_details": {"cached_tokens": 0},
    }
    same = {key: written[key] for key in ("object", "model", "service_tier", "system_fingerprint")}
    assert same == {key: told[key] for key in same}
    assert body.startswith(b'{\n  "id": "chatcmpl-')


@pytest.mark.parametrize("usage", [False, True])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_streamed_reply(usage: bool, end: str) -> None:
    """The teacher's chunks with all words in one, one identifier in all, and its [DONE]."""
    body = rendered(CHAT, SAID, STREAM, stream(chunks(["ship", "ping"], usage=usage), end))
    written = [
        orjson.loads(line[6:]) for line in body.decode().split(end * 2) if line and "[DONE]" not in line
    ]
    deltas = [choice["delta"] for chunk in written for choice in chunk["choices"]]
    assert deltas == [{"role": "assistant", "content": "", "refusal": None}, {"content": "other"}, {}]
    assert len({chunk["id"] for chunk in written}) == 1
    assert body.endswith(f"data: [DONE]{end}{end}".encode())
    assert [chunk["usage"]["total_tokens"] for chunk in written if chunk.get("usage")] == [0] * usage
    assert CHAT.parse_response(body, STREAM) == (Observation((0.0, 0.0, 1.0), None, True),)


def test_words_and_finish_in_one_chunk() -> None:
    """A teacher that finishes in its last chunk with words is imitated in that, too."""
    documents = chunks(["ship", "ping"])[:-1]
    documents[-1]["choices"][0]["finish_reason"] = "length"
    body = rendered(CHAT, SAID, STREAM, stream(documents))
    assert body.count(b"data:") == 3
    assert b'"content":"other"},"logprobs":null,"finish_reason":"stop"' in body


@pytest.mark.parametrize(
    "like",
    [
        orjson.dumps({**document("shipping"), "prompt": "what Ann asked"}),
        completion("shipping", message={"role": "assistant", "content": "x", "reasoning_content": "Ann"}),
        stream([*chunks(["shipping"]), {**chunks(["x"])[0], "x_trace": "Ann"}]),
        stream(chunks([])),
    ],
)
def test_anothers_words_are_not_repeated(like: bytes) -> None:
    """A field that may hold what belongs to the last caller: the teacher answers."""
    assert CHAT.render_reply(SAID, X, like) is None


@pytest.mark.parametrize("unasked", ["null", "absent"])
def test_amended_request_and_restored_reply(unasked: str) -> None:
    """Logprobs are asked for; of the reply every byte but theirs stays."""
    form = configured(request_logprobs=True, unasked_logprobs=unasked)
    amendment = form.amend(b'{ "model":"m","messages":[{"role":"user","content":"x"}],"logprobs": false}')
    assert amendment.body == (
        b'{"top_logprobs":5, "model":"m","messages":[{"role":"user","content":"x"}],"logprobs": true}'
    )
    told = document("shipping")
    if unasked == "absent":
        del told["choices"][0]["logprobs"]
    for option in (None, orjson.OPT_INDENT_2):
        plain = orjson.dumps(told, option=option)
        with_logprobs = orjson.dumps(document("shipping", logprobs(SPLIT)), option=option)
        assert amendment.restored(with_logprobs) == plain


@pytest.mark.parametrize(
    "body", [b"{", b"[]", orjson.dumps(request(logprobs=True)), orjson.dumps(request(n=2))]
)
def test_what_is_not_amended(body: bytes) -> None:
    """Requests that make no pair, and callers who asked themselves, reach the teacher as they are."""
    assert configured(request_logprobs=True).amend(body) is None
    assert CHAT.amend is None


@pytest.mark.parametrize("body", [b"not json", b"[]", b'{"error":{"logprobs":1}}', b'{"choices":{"0":1}}'])
def test_other_replies_are_restored_to_themselves(body: bytes) -> None:
    """What is no completion is left alone."""
    amendment = configured(request_logprobs=True).amend(orjson.dumps(request()))
    assert amendment.restored(body) == body
