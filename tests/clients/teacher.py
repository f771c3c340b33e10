"""A teacher at the edge that speaks three wire forms, written from their documents and sharing no code with ours."""

import asyncio
import json
import math
import struct
import time
import uuid
from typing import Any

import numpy as np

from tests.gateway.teachers import CLASSES, scores_of

MODEL, VERSION = "desk", "7"


class SpeakingTeacher:
    """An ASGI application; `asked` keeps the bodies of chat requests."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.encodings: list[str] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body, more = body + message.get("body", b""), message.get("more_body", False)
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        path = scope["path"]
        if path.startswith("/v2"):
            await _reply(send, *open_inference(path, headers, body))
        elif path.endswith("/chat/completions"):
            document = json.loads(body)
            self.asked.append(document)
            self.encodings.append(headers.get("accept-encoding", ""))
            await self._chat(document, send)
        else:
            texts = json.loads(body)["inputs"]
            lists = [ranked(text) for text in ([texts] if isinstance(texts, str) else texts)]
            await _reply(send, json.dumps(lists).encode())

    async def _chat(self, document: dict[str, Any], send: Any) -> None:
        if not document.get("stream"):
            await _reply(send, json.dumps(completion(document), indent=2).encode())
            return
        headers = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for chunk in [*chunks(document), "[DONE]"]:
            data = chunk if isinstance(chunk, str) else json.dumps(chunk, separators=(",", ":"))
            event = f"data: {data}\n\n".encode()
            await send({"type": "http.response.body", "body": event, "more_body": True})
            await asyncio.sleep(0)
        await send({"type": "http.response.body"})


async def _reply(send: Any, body: bytes, *fields: tuple[bytes, bytes]) -> None:
    kind = b"application/octet-stream" if fields else b"application/json"
    headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode()), *fields]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def ranked(text: str) -> list[dict[str, Any]]:
    pairs = sorted(zip(CLASSES, scores_of(text), strict=True), key=lambda pair: -pair[1])
    return [{"label": name, "score": score} for name, score in pairs]


# --- chat completions --------------------------------------------------------------------------------


def words_of(document: dict[str, Any]) -> str:
    scores = scores_of(document["messages"][-1]["content"])
    return CLASSES[scores.index(max(scores))].capitalize()


def _logprobs(document: dict[str, Any]) -> dict[str, Any] | None:
    """One token for the whole class, its alternatives beside it."""
    if not document.get("logprobs"):
        return None
    scores = scores_of(document["messages"][-1]["content"])
    listed = [
        {"token": name.capitalize(), "logprob": math.log(0.9 * score), "bytes": None}
        for name, score in zip(CLASSES, scores, strict=True)
    ]
    sampled = max(listed, key=lambda entry: float(entry["logprob"] or 0))
    return {"content": [{**sampled, "top_logprobs": listed}], "refusal": None}


def _head(kind: str) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{uuid.uuid4().hex}",
        "object": kind,
        "created": int(time.time()),
        "model": "small-2026-01-01",
    }


def _usage() -> dict[str, int]:
    return {"prompt_tokens": 12, "completion_tokens": 1, "total_tokens": 13}


def completion(document: dict[str, Any]) -> dict[str, Any]:
    message = {"role": "assistant", "content": words_of(document), "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": _logprobs(document), "finish_reason": "stop"}
    head = _head("chat.completion")
    return {**head, "choices": [choice], "usage": _usage(), "system_fingerprint": "fp_1"}


def chunks(document: dict[str, Any]) -> list[dict[str, Any]]:
    words, told = words_of(document), _logprobs(document)
    deltas: list[tuple[dict[str, Any], Any, str | None]] = [
        ({"role": "assistant", "content": ""}, None, None),
        ({"content": words[:3]}, None, None),
        ({"content": words[3:]}, told, None),
        ({}, None, "stop"),
    ]
    wants_usage = (document.get("stream_options") or {}).get("include_usage")
    head = {**_head("chat.completion.chunk"), "system_fingerprint": "fp_1"}
    null = {"usage": None} if wants_usage else {}
    written = [
        {
            **head,
            "choices": [{"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": reason}],
            **null,
        }
        for delta, logprobs, reason in deltas
    ]
    return [*written, {**head, "choices": [], "usage": _usage()}] if wants_usage else written


# --- Open Inference Protocol v2 with binary tensor data --------------------------------------------------


def open_inference(
    path: str, headers: dict[str, str], body: bytes
) -> tuple[bytes] | tuple[bytes, tuple[bytes, bytes]]:
    if not path.endswith("/infer"):
        tensors = {"inputs": [_described("TEXT", "BYTES")], "outputs": [_described("PROBS", "FP32")]}
        return (json.dumps({"name": MODEL, "versions": [VERSION], "platform": "test", **tensors}).encode(),)
    length = int(headers.get("inference-header-content-length", len(body)))
    request = json.loads(body[:length])
    rows = _rows(request["inputs"][0], body[length:])
    probabilities = np.array([scores_of(row) if isinstance(row, str) else row for row in rows], dtype="<f4")
    output = {"name": "PROBS", "datatype": "FP32", "shape": list(probabilities.shape)}
    reply = {"id": request["id"]} if "id" in request else {}
    reply |= {"model_name": MODEL, "model_version": VERSION}
    if not _wants_binary(request):
        output["data"] = [float(str(value)) for value in probabilities.ravel()]
        return (json.dumps({**reply, "outputs": [output]}, separators=(",", ":")).encode(),)
    content = probabilities.tobytes()
    output["parameters"] = {"binary_data_size": len(content)}
    head = json.dumps({**reply, "outputs": [output]}, separators=(",", ":")).encode()
    return head + content, (b"inference-header-content-length", str(len(head)).encode())


def _described(name: str, datatype: str) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": [-1, 3 if datatype == "FP32" else 1]}


def _rows(tensor: dict[str, Any], binary: bytes) -> list[Any]:
    """Texts as they are; numbers as probabilities of their own."""
    if tensor["datatype"] == "BYTES":
        if "data" in tensor:
            return list(np.array(tensor["data"]).ravel())
        texts, at = [], 0
        while at < len(binary):
            (size,) = struct.unpack("<I", binary[at : at + 4])
            texts.append(binary[at + 4 : at + 4 + size].decode())
            at += 4 + size
        return texts
    values = np.frombuffer(binary, "<f4") if "data" not in tensor else np.array(tensor["data"], "<f4")
    rows = values.reshape(tensor["shape"])
    return list(rows / rows.sum(axis=1, keepdims=True))


def _wants_binary(request: dict[str, Any]) -> bool:
    outputs = request.get("outputs")
    if outputs:
        return bool(outputs[0].get("parameters", {}).get("binary_data"))
    return bool(request.get("parameters", {}).get("binary_data_output"))
