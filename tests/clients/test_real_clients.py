"""Clients that we did not write, unmodified: they cannot tell who answers, and the record can."""

import json
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import openai
import pytest
import tritonclient.http as triton
from huggingface_hub import InferenceClient

from ledger.exchange import Fallback, ServedBy, Unpaired
from ledger.observation import Observation
from tests.clients.conftest import Deployment
from tests.gateway.running import call
from tests.gateway.teachers import CLASSES, scores_of

BILLING, SHIPPING = "my billing question", "where is my shipping"
USER: Any = [{"role": "system", "content": "Classify."}, {"role": "user", "content": BILLING}]
SCORES = pytest.approx(tuple(scores_of(BILLING)), abs=1e-6)


def form_of(value: Any) -> Any:
    """Keys in order, types, and lengths, without the values."""
    if isinstance(value, dict):
        return [(key, form_of(inner)) for key, inner in value.items()]
    if isinstance(value, list):
        return [form_of(inner) for inner in value]
    return type(value)


def teacher_then(deployment: Deployment, ask: Any) -> tuple[Any, Any]:
    """Two replies to the same request: the first shows the form; who gave the second, the stage decides."""
    first = ask()
    deployment.last()
    second = ask()
    exchange = deployment.last()
    assert (exchange.served_by, exchange.fallback) == (deployment.serves, None)
    assert exchange.unpaired in (None, Unpaired.NOT_ASKED)
    return first, second


# --- openai ---------------------------------------------------------------------------------------------


@pytest.fixture
def chat(deployment: Deployment) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{deployment.url}/v1", api_key="k", max_retries=0) as client:
        yield client


def test_openai(deployment: Deployment, chat: openai.OpenAI) -> None:
    """A completion: the class in words, every field where the teacher has it, a new identifier each time."""
    first, second = teacher_then(
        deployment, lambda: chat.chat.completions.create(model="small", messages=USER)
    )
    assert second.choices[0].message.content == "Billing"
    assert form_of(second.model_dump()) == form_of(first.model_dump())
    assert first.id != second.id
    assert second.created >= first.created


def test_openai_raw_response(deployment: Deployment, chat: openai.OpenAI) -> None:
    """The raw response tells who served; its bytes have the teacher's layout."""
    ask = chat.chat.completions.with_raw_response.create
    first, second = teacher_then(deployment, lambda: ask(model="small", messages=USER))
    assert second.headers["x-stillgate-served-by"] == deployment.serves
    assert second.headers["content-type"] == first.headers["content-type"]
    assert second.parse().choices[0].finish_reason == "stop"
    layout = [line.split(":")[0] for line in first.text.splitlines()]
    assert [line.split(":")[0] for line in second.text.splitlines()] == layout


@pytest.mark.parametrize("usage", [False, True])
def test_openai_stream(deployment: Deployment, chat: openai.OpenAI, usage: bool) -> None:
    """A stream: role, words, finish reason, and the usage when it is asked for."""
    options: Any = {"stream_options": {"include_usage": True}} if usage else {}

    def ask() -> list[Any]:
        with chat.chat.completions.create(model="small", messages=USER, stream=True, **options) as stream:
            return list(stream)

    for chunks in teacher_then(deployment, ask):
        choices = [chunk.choices[0] for chunk in chunks if chunk.choices]
        assert choices[0].delta.role == "assistant"
        assert "".join(choice.delta.content or "" for choice in choices) == "Billing"
        assert [choice.finish_reason for choice in choices][-1] == "stop"
        assert len({chunk.id for chunk in chunks}) == 1
        assert [chunk.usage is not None for chunk in chunks if not chunk.choices] == [True] * usage


def test_openai_stream_events(deployment: Deployment, chat: openai.OpenAI) -> None:
    """The client's own accumulation of a stream ends with a whole completion."""

    def ask() -> Any:
        with chat.chat.completions.stream(model="small", messages=USER) as stream:
            return stream.get_final_completion()

    first, second = teacher_then(deployment, ask)
    assert form_of(second.model_dump()) == form_of(first.model_dump())
    assert second.choices[0].message.content == "Billing"


async def test_openai_async(deployment: Deployment) -> None:
    """The asynchronous client, streamed and not."""
    async with openai.AsyncOpenAI(base_url=f"{deployment.url}/v1", api_key="k", max_retries=0) as client:
        for _ in range(2):
            reply = await client.chat.completions.create(model="small", messages=USER)
            deployment.last()
            stream = await client.chat.completions.create(model="small", messages=USER, stream=True)
            words = [chunk.choices[0].delta.content or "" async for chunk in stream]
            assert deployment.last().served_by is deployment.serves
        assert reply.choices[0].message.content == "".join(words) == "Billing"


@pytest.mark.parametrize("streamed", [False, True])
def test_openai_logprobs(deployment: Deployment, chat: openai.OpenAI, streamed: bool) -> None:
    """Logprobs that the caller asked for: the teacher answers, and they are the record's distribution."""
    reply: Any = chat.chat.completions.create(
        model="small", messages=USER, logprobs=True, top_logprobs=5, stream=streamed
    )
    choices = [chunk.choices[0] for chunk in reply] if streamed else [reply.choices[0]]
    (token,) = [token for choice in choices if choice.logprobs for token in choice.logprobs.content]
    exchange = deployment.last()
    assert [entry.token for entry in token.top_logprobs] == ["Billing", "Shipping", "Other"]
    assert exchange.served_by is ServedBy.TEACHER
    assert exchange.fallback is (None if deployment.serves is ServedBy.TEACHER else Fallback.PARAMETERS)
    (said,) = exchange.teacher
    assert said.probabilities == SCORES
    assert (said.hard, said.other) == (False, pytest.approx(0.1))


def test_openai_several_choices(deployment: Deployment, chat: openai.OpenAI) -> None:
    """Parameters that change the meaning reach the teacher in every stage, and make no pair."""
    chat.chat.completions.create(model="small", messages=USER, n=2, tools=[])
    exchange = deployment.last()
    assert (exchange.served_by, exchange.unpaired) == (ServedBy.TEACHER, Unpaired.REQUEST_PARAMETERS)


@pytest.mark.parametrize("streamed", [False, True])
def test_openai_behind_a_gateway_that_asks_for_logprobs(deployment: Deployment, streamed: bool) -> None:
    """The teacher is asked for logprobs, the record has them, and the caller sees none."""
    with openai.OpenAI(base_url=f"{deployment.url}/asking/v1", api_key="k", max_retries=0) as client:

        def ask() -> list[Any]:
            reply: Any = client.chat.completions.create(model="small", messages=USER, stream=streamed)
            return list(reply) if streamed else [reply]

        first = ask()
        exchange = deployment.last()
        if deployment.serves is ServedBy.TEACHER:  # later its audits may stand between
            assert deployment.teacher.asked[-1]["top_logprobs"] == 5
            assert deployment.teacher.encodings[-1] == "identity"
            assert exchange.teacher[0].probabilities == SCORES
        second = ask()
        assert deployment.last().served_by is deployment.serves
    for replies in (first, second):
        told = [choice.logprobs for reply in replies for choice in reply.choices]
        assert told
        assert set(told) == {None}


@pytest.mark.parametrize("streamed", [False, True])
def test_bytes_are_those_of_a_teacher_that_was_not_asked_for_logprobs(
    deployment: Deployment, streamed: bool
) -> None:
    """Restored or written by the student: the teacher's bytes, but for identifier, time and token counts."""

    def ask(model: str) -> bytes:
        body = json.dumps({"model": model, "messages": USER, "stream": streamed}).encode()
        reply = call(deployment.running.port, "POST", "/asking/v1/chat/completions", body)
        deployment.last()
        return re.sub(rb'chatcmpl-\w+|\d{10}|(?<=_tokens": )\d+', b"", reply.body)

    untouched = ask("of another task")
    if streamed and deployment.serves is ServedBy.STUDENT:  # which says all its words at once
        blocks = untouched.replace(b'"Bil"', b'"Billing"').split(b"\n\n")
        untouched = b"\n\n".join(block for block in blocks if b'"ling"' not in block)
    ask("small")
    assert ask("small") == untouched


# --- tritonclient -----------------------------------------------------------------------------------------


@pytest.fixture
def wire(deployment: Deployment) -> Iterator[Any]:
    client = triton.InferenceServerClient(deployment.url.removeprefix("http://"))
    yield client
    client.close()


def texts(values: list[str], binary: bool) -> Any:
    tensor = triton.InferInput("TEXT", [len(values), 1], "BYTES")
    tensor.set_data_from_numpy(np.array(values, dtype=object).reshape(-1, 1), binary_data=binary)
    return tensor


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [None, True, False])
def test_triton(deployment: Deployment, wire: Any, binary_in: bool, binary_out: bool | None) -> None:
    """Texts in, FP32 probabilities out, as binary data or JSON; without named outputs all come binary."""
    outputs = None if binary_out is None else [triton.InferRequestedOutput("PROBS", binary_data=binary_out)]
    ask = lambda: wire.infer("desk", [texts([BILLING, SHIPPING], binary_in)], outputs=outputs)  # noqa: E731
    first, second = teacher_then(deployment, ask)
    expected = np.array([scores_of(BILLING), scores_of(SHIPPING)], dtype=np.float32)
    np.testing.assert_allclose(second.as_numpy("PROBS"), expected, atol=1e-6)
    assert second.as_numpy("PROBS").dtype == np.float32
    assert form_of(second.get_response()) == form_of(first.get_response())


def test_triton_request_id_and_version(deployment: Deployment, wire: Any) -> None:
    """The identifier comes back, on the path of a version too."""

    def ask() -> Any:
        return wire.infer("desk", [texts([BILLING], True)], model_version="7", request_id="mine")

    for reply in teacher_then(deployment, ask):
        assert reply.get_response()["id"] == "mine"
        assert reply.get_response()["model_version"] == "7"


def test_triton_features(deployment: Deployment, wire: Any) -> None:
    """Numbers for features pass to the teacher; the record says why they make no pair."""
    tensor = triton.InferInput("FEATURES", [1, 3], "FP32")
    tensor.set_data_from_numpy(np.array([[1, 2, 1]], dtype=np.float32))
    reply = wire.infer("desk", [tensor])
    exchange = deployment.last()
    np.testing.assert_allclose(reply.as_numpy("PROBS"), [[0.25, 0.5, 0.25]])
    assert (exchange.served_by, exchange.unpaired) == (ServedBy.TEACHER, Unpaired.REQUEST_NUMERIC)


def test_triton_health_and_metadata(deployment: Deployment, wire: Any) -> None:
    """Questions about the server and the model are the teacher's to answer."""
    assert wire.is_server_live()
    assert wire.is_server_ready()
    assert wire.is_model_ready("desk")
    assert wire.get_model_metadata("desk")["versions"] == ["7"]
    assert deployment.last().unpaired is Unpaired.NO_TASK


# --- huggingface_hub --------------------------------------------------------------------------------------


def test_huggingface_hub(deployment: Deployment) -> None:
    """Labels and scores, most probable first."""
    client = InferenceClient(model=f"{deployment.url}/classify", token="k")
    first, second = teacher_then(deployment, lambda: client.text_classification(BILLING))
    assert [element.label for element in second] == [element.label for element in first]
    assert [element.score for element in second] == pytest.approx([0.9, 0.05, 0.05], abs=1e-6)


def test_huggingface_hub_top_k(deployment: Deployment) -> None:
    """All classes on request are the student's too; fewer, or raw scores, are the teacher's."""
    client = InferenceClient(model=f"{deployment.url}/classify", token="k")
    assert len(client.text_classification(BILLING, top_k=len(CLASSES))) == len(CLASSES)
    assert deployment.last().unpaired in (None, Unpaired.NOT_ASKED)
    client.text_classification(BILLING, top_k=1)
    assert deployment.last().unpaired is Unpaired.REQUEST_PARAMETERS
    client.text_classification(BILLING, function_to_apply="none")
    exchange = deployment.last()
    assert (exchange.served_by, exchange.unpaired) == (ServedBy.TEACHER, Unpaired.REQUEST_PARAMETERS)


def test_students_answered_in_shadow(started: Deployment) -> None:
    """What the clients asked in shadow has both sides' observations of the same texts."""
    paired = [
        e for e in started.running.exchanges() if e.unpaired is None and e.served_by is ServedBy.TEACHER
    ]
    answered = [exchange for exchange in paired if started.running.answers(exchange.sequence)]
    assert {exchange.task for exchange in answered} == {"hub", "wire", "chat", "chat_with_logprobs"}
    for exchange in answered:
        (answer, *_) = started.running.answers(exchange.sequence)
        assert [said.top for said in answer.observations] == [said.top for said in exchange.teacher]
        assert isinstance(answer.observations[0], Observation)
