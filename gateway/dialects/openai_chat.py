"""OpenAI chat completions used as a classifier: the assistant's words name a class, its token logprobs how sure.

The reply may be one document or a stream of chunks (server-sent events). A request is the task's only if it
asks for one plain answer: several choices, tools, structured output or biased tokens mean something else.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from gateway.dialects.dialect import NOT_JSON, Asked, Dialect, read_json
from gateway.dialects.openai_amendment import amend
from gateway.dialects.openai_completion import read_completion, read_stream
from gateway.dialects.openai_logprobs import observation_of
from gateway.dialects.openai_reply import render
from ledger.class_texts import class_texts, normalised_text
from ledger.configuration import OpenAISection
from ledger.exchange import Unpaired
from ledger.observation import Observation

# keys that change neither what the answer means nor its form; `null` counts as absent
_HARMLESS = frozenset(
    {
        "frequency_penalty",
        "logprobs",
        "max_completion_tokens",
        "max_tokens",
        "messages",
        "metadata",
        "model",
        "presence_penalty",
        "prompt_cache_key",
        "prompt_cache_retention",
        "reasoning_effort",
        "safety_identifier",
        "seed",
        "service_tier",
        "store",
        "stream",
        "stream_options",
        "temperature",
        "top_logprobs",
        "top_p",
        "user",
        "verbosity",
    }
)
_INSTRUCTING = ("system", "developer")


@dataclass(frozen=True, slots=True)
class Terms:
    """What the dialect has to know of its task."""

    section: OpenAISection
    classes: Sequence[str]
    texts: Mapping[str, int]  # normalised text -> index of the class
    written: Sequence[str]  # what a student says for each class: the first text declared for it


def openai_chat(classes: Sequence[str], section: OpenAISection) -> Dialect:
    texts = {text: classes.index(name) for text, name in class_texts(section.labels, classes).items()}
    declared = section.labels or {name: name for name in classes}
    written = [next(text for text, name in declared.items() if name == one) for one in classes]
    terms = Terms(section, classes, texts, written)
    return Dialect(
        partial(_parse_request, terms),
        partial(_parse_response, terms),
        partial(render, section, written),
        partial(_amend, terms) if section.request_logprobs else None,
    )


def _amend(terms: Terms, body: bytes) -> Any:
    """Ask for logprobs where a pair can come of it and the caller did not ask."""
    asked = _parse_request(terms, body)
    return amend(terms.section, body) if isinstance(asked, Asked) and asked.servable else None


def _parse_request(terms: Terms, body: bytes) -> Asked | Unpaired:
    document = read_json(body)
    if document is NOT_JSON:
        return Unpaired.REQUEST_NOT_JSON
    messages = document.get("messages") if isinstance(document, dict) else None
    if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
        return Unpaired.REQUEST_NOT_TEXT
    if document.get("model") not in terms.section.models:
        return Unpaired.REQUEST_OTHER_MODEL
    if not _asks_for_one_plain_answer(document, terms.written):
        return Unpaired.REQUEST_PARAMETERS
    text = _text(terms.section, messages)
    if isinstance(text, Unpaired):
        return text
    logprobs = document.get("logprobs") is True
    return Asked((text,), _shape(terms.section, document, logprobs), not logprobs)


def _shape(section: OpenAISection, document: Mapping[str, Any], logprobs: bool) -> str:
    stream, options = document.get("stream") is True, document.get("stream_options")
    usage = stream and isinstance(options, dict) and options.get("include_usage") is True
    words = ("stream" if stream else "reply", "usage" if usage else "", "logprobs" if logprobs else "")
    return " ".join([str(section.models.index(document["model"])), *filter(None, words)])


def _asks_for_one_plain_answer(document: Mapping[str, Any], written: Sequence[str]) -> bool:
    for key, value in document.items():
        if key in _HARMLESS or value in (None, [], {}):
            continue
        if (key, value) in (("n", 1), ("response_format", {"type": "text"}), ("modalities", ["text"])):
            continue
        if key != "stop" or not _stops_after(value, written):
            return False
    return True


def _stops_after(stop: Any, written: Sequence[str]) -> bool:
    """Whether none of these stops can cut the text of a class."""
    stops = stop if isinstance(stop, list) else [stop]
    return all(isinstance(one, str) and not any(one in text for text in written) for one in stops)


def _text(section: OpenAISection, messages: Sequence[Mapping[str, Any]]) -> str | Unpaired:
    contents = [(message.get("role"), _content(message)) for message in messages]
    if not contents or contents[-1][0] != "user":
        return Unpaired.REQUEST_NOT_TEXT
    if section.instructions is not None:
        told = "\n".join([content or "" for role, content in contents if role in _INSTRUCTING])
        if told.strip() != section.instructions.strip():
            return Unpaired.REQUEST_OTHER_INSTRUCTIONS
    read = contents if section.messages == "all" else contents[-1:]
    if any(content is None for _, content in read):
        return Unpaired.REQUEST_NOT_TEXT
    if not (contents[-1][1] or "").strip():
        return Unpaired.REQUEST_EMPTY
    return "\n".join([f"{role}: {content}" for role, content in read]) if len(read) > 1 else str(read[0][1])


def _content(message: Mapping[str, Any]) -> str | None:
    """The text of a message, its parts joined by line feeds; None if there is anything but text."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    if not isinstance(content, list) or not all(isinstance(part, dict) for part in content):
        return None
    texts = [part.get("text") if part.get("type") == "text" else None for part in content]
    return "\n".join(map(str, texts)) if all(isinstance(text, str) for text in texts) else None


def _parse_response(terms: Terms, body: bytes, asked: Asked) -> tuple[Observation, ...] | Unpaired:
    streamed = " stream" in asked.shape and not body.lstrip().startswith(b"{")
    completion = read_stream(body) if streamed else read_completion(body)
    if isinstance(completion, Unpaired):
        return completion
    index = terms.texts.get(normalised_text(completion.text))
    if index is None:
        return Unpaired.LABEL_UNKNOWN
    return (observation_of(index, completion.tokens, terms.texts, len(terms.classes)),)
