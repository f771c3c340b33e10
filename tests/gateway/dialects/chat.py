"""Chat completions as OpenAI's servers write them: pretty documents, compact chunks."""

import json
import math
from collections.abc import Sequence
from typing import Any

Token = tuple[str, dict[str, float]]  # what was sampled, and the listed alternatives with their probabilities


def logprobs(tokens: Sequence[Token]) -> dict[str, Any]:
    return {"content": [_entry(token, listed) for token, listed in tokens], "refusal": None}


def _entry(token: str, listed: dict[str, float]) -> dict[str, Any]:
    top = [
        {"token": text, "logprob": math.log(p), "bytes": list(text.encode())} for text, p in listed.items()
    ]
    return {
        "token": token,
        "logprob": math.log(listed[token]),
        "bytes": list(token.encode()),
        "top_logprobs": top,
    }


def document(content: str | None, told: Any = None, **choice: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": content, "refusal": None, "annotations": []}
    return {
        "id": "chatcmpl-B9MHDbslfkBeAs8l4bebGdFOJ6PeG",
        "object": "chat.completion",
        "created": 1741570283,
        "model": "m-2025-01-01",
        "choices": [{"index": 0, "message": message, "logprobs": told, "finish_reason": "stop", **choice}],
        "usage": {
            "prompt_tokens": 19,
            "completion_tokens": 10,
            "total_tokens": 29,
            "prompt_tokens_details": {"cached_tokens": 3},
        },
        "service_tier": "default",
        "system_fingerprint": "fp_fc9f1d7035",
    }


def completion(content: str | None, told: Any = None, **choice: Any) -> bytes:
    return json.dumps(document(content, told, **choice), indent=2).encode() + b"\n"


def chunks(pieces: Sequence[str], told: Sequence[Any] = (), usage: bool = False) -> list[dict[str, Any]]:
    """The role, one chunk a piece, the finish reason, and the usage if it is asked for."""
    deltas: list[tuple[dict[str, Any], Any, str | None]] = [
        ({"role": "assistant", "content": "", "refusal": None}, None, None)
    ]
    for place, piece in enumerate(pieces):
        deltas.append(({"content": piece}, told[place] if told else None, None))
    deltas.append(({}, None, "stop"))
    written = [_chunk([_choice(*delta)], usage) for delta in deltas]
    if usage:
        counts = {"prompt_tokens": 19, "completion_tokens": 2, "total_tokens": 21}
        written.append({**_chunk([], usage), "usage": counts})
    return written


def _choice(delta: dict[str, Any], told: Any, finish: str | None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "logprobs": told, "finish_reason": finish}


def _chunk(choices: list[Any], usage: bool) -> dict[str, Any]:
    return {
        "id": "chatcmpl-B9MHDbslfkBeAs8l4bebGdFOJ6PeG",
        "object": "chat.completion.chunk",
        "created": 1741570283,
        "model": "m-2025-01-01",
        "service_tier": "default",
        "system_fingerprint": "fp_fc9f1d7035",
        "choices": choices,
        **({"usage": None} if usage else {}),
    }


def stream(documents: Sequence[Any], end: str = "\n", done: bool = True) -> bytes:
    """Each as the data of an event, then [DONE]."""
    data = [json.dumps(document, separators=(",", ":")) for document in documents]
    return "".join(f"data: {one}{end}{end}" for one in [*data, *(["[DONE]"] if done else [])]).encode()
