"""What a chat completion says, whether it came as one document or as a stream of chunks."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gateway.dialects.dialect import read_json
from gateway.dialects.sse import events_of
from ledger.exchange import Unpaired

DONE = b"[DONE]"  # the data of a stream's last event


@dataclass(frozen=True, slots=True)
class Completion:
    text: str
    tokens: tuple[Any, ...]  # entries of logprobs.content as they came; empty if there are none


def read_completion(body: bytes) -> Completion | Unpaired:
    document = read_json(body)
    choices = document.get("choices") if isinstance(document, dict) else None
    if not isinstance(choices, list) or len(choices) != 1 or not isinstance(choices[0], dict):
        return Unpaired.TEACHER_MALFORMED
    message = choices[0].get("message")
    if not isinstance(message, dict):
        return Unpaired.TEACHER_MALFORMED
    content = message.get("content")
    if not isinstance(content, str):  # a refusal, or a call of a tool
        return Unpaired.LABEL_UNKNOWN
    return Completion(content, tuple(_tokens(choices[0])))


def read_stream(body: bytes) -> Completion | Unpaired:
    """Put the chunks together. A stream counts only with a finish reason and its [DONE]: one that ends without
    them, however cleanly, was cut somewhere on its way."""
    pieces: list[str] = []
    tokens: list[Any] = []
    finished = done = False
    for event in events_of(body):
        if event.data == DONE:
            done = True
            break
        if not event.block.endswith((b"\n", b"\r")):
            break
        chunk = read_json(event.data)
        if event.name == b"error" or (isinstance(chunk, dict) and chunk.get("error")):
            return Unpaired.STREAM_ERROR
        if not isinstance(chunk, dict):
            return Unpaired.TEACHER_MALFORMED
        choice = _only_choice(chunk)
        if isinstance(choice, Unpaired):
            return choice
        content = choice["delta"].get("content") if isinstance(choice.get("delta"), dict) else None
        if isinstance(content, str):
            pieces.append(content)
        tokens += _tokens(choice)
        finished = finished or choice.get("finish_reason") is not None
    return Completion("".join(pieces), tuple(tokens)) if done and finished else Unpaired.STREAM_UNFINISHED


def _only_choice(chunk: Mapping[str, Any]) -> Mapping[str, Any] | Unpaired:
    """The chunk's choice; an empty one where there is none, as beside the usage at the end."""
    choices = chunk.get("choices")
    if not isinstance(choices, list) or len(choices) > 1:
        return Unpaired.TEACHER_MALFORMED
    choice = choices[0] if choices else {}
    if not isinstance(choice, dict) or choice.get("index", 0) != 0:
        return Unpaired.TEACHER_MALFORMED
    return choice


def _tokens(choice: Mapping[str, Any]) -> Iterator[Any]:
    logprobs = choice.get("logprobs")
    content = logprobs.get("content") if isinstance(logprobs, dict) else None
    yield from content if isinstance(content, list) else ()
