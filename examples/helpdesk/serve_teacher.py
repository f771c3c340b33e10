"""The teacher's own server: one ONNX file behind HTTP, knowing nothing of Stillgate.

python -m examples.helpdesk.serve_teacher --folder .demo/teacher --port 8090

It speaks two dialects: the text-classification form of Text Embeddings Inference (POST / or /predict), where
one string is answered by a list of label and score and a list of strings by a list of such lists, and the
Open Inference Protocol v2 (POST /v2/models/{name}/infer).
"""

import argparse
import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import uvicorn
from numpy.typing import NDArray
from tokenizers import Tokenizer

MAX_BODY_BYTES = 2_000_000
MAX_INPUTS = 64
MODEL_NAME = "helpdesk"
VERSION_HEADER = b"x-teacher-version"

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Answerer = Callable[[Sequence[str]], Awaitable[NDArray[np.float32]]]


class Refused(Exception):
    """A request that gets an error answer: `status`, and a sentence for the caller."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


@dataclass(frozen=True, slots=True)
class Teacher:
    """A loaded teacher; `classify` is called from one thread at a time."""

    session: onnxruntime.InferenceSession
    tokenizer: Tokenizer
    labels: tuple[str, ...]
    version: str

    def classify(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Probabilities [texts, labels]; each text runs alone, so that its answer never depends on others."""
        encodings = self.tokenizer.encode_batch(list(texts))
        return np.concatenate([self._probabilities(encoding.ids) for encoding in encodings])

    def _probabilities(self, token_ids: Sequence[int]) -> NDArray[np.float32]:
        input_ids = np.array([token_ids], dtype=np.int64)
        inputs = {"input_ids": input_ids, "attention_mask": np.ones_like(input_ids)}
        return np.asarray(self.session.run(["probs"], inputs)[0], dtype=np.float32)


def load_teacher(folder: Path) -> Teacher:
    """The teacher that `examples.helpdesk.teacher.build_teacher` wrote into the folder."""
    card = json.loads((folder / "labels.json").read_text(encoding="utf-8"))
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(card["max_tokens"])
    tokenizer.no_padding()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # idle must cost nothing
    session = onnxruntime.InferenceSession(
        str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"]
    )
    return Teacher(session, tokenizer, tuple(card["labels"]), card["version"])


def serve(folder: Path, host: str, port: int) -> None:
    """Answer until interrupted; inference runs on one thread beside the event loop."""
    config = uvicorn.Config(
        application(load_teacher(folder)), host=host, port=port, log_level="warning", lifespan="off"
    )
    uvicorn.Server(config).run()


def application(teacher: Teacher) -> Callable[[Scope, Receive, Send], Awaitable[None]]:
    """The ASGI application."""
    thread = ThreadPoolExecutor(1, thread_name_prefix="inference")

    async def answer(texts: Sequence[str]) -> NDArray[np.float32]:
        return await asyncio.get_running_loop().run_in_executor(thread, teacher.classify, texts)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        try:
            status, content = 200, await _route(teacher, answer, scope["method"], scope["path"], receive)
        except Refused as refusal:
            status, content = refusal.status, {"error": str(refusal), "error_type": "Validation"}
        await _respond(send, status, content, teacher.version)

    return app


async def _route(teacher: Teacher, answer: Answerer, method: str, path: str, receive: Receive) -> object:
    if method == "GET":
        return _described(teacher, path)
    if method != "POST":
        raise Refused(405, f"{method} is not answered; use GET or POST")
    body = await _read_body(receive)
    if path in ("/", "/predict"):
        return await _classify_text(teacher, answer, _parsed(body))
    if path == f"/v2/models/{MODEL_NAME}/infer":
        return await _infer(teacher, answer, _parsed(body))
    raise Refused(404, f"nothing answers {method} {path}; POST to /predict or /v2/models/{MODEL_NAME}/infer")


def _described(teacher: Teacher, path: str) -> object:
    if path in ("/health", "/v2/health/live", "/v2/health/ready", f"/v2/models/{MODEL_NAME}/ready"):
        return {"ready": True}
    if path == f"/v2/models/{MODEL_NAME}":
        return {
            "name": MODEL_NAME,
            "versions": [teacher.version],
            "platform": "onnxruntime_onnx",
            "inputs": [{"name": "text", "datatype": "BYTES", "shape": [-1]}],
            "outputs": [{"name": "probabilities", "datatype": "FP32", "shape": [-1, len(teacher.labels)]}],
            "parameters": {"labels": list(teacher.labels)},
        }
    raise Refused(404, f"nothing answers GET {path}")


async def _classify_text(teacher: Teacher, answer: Answerer, document: object) -> object:
    inputs = document.get("inputs") if isinstance(document, dict) else None
    texts = _checked_texts([inputs] if isinstance(inputs, str) else inputs, "inputs")
    ranked = [_ranked(row, teacher.labels) for row in await answer(texts)]
    return ranked[0] if isinstance(inputs, str) else ranked


async def _infer(teacher: Teacher, answer: Answerer, document: object) -> object:
    tensor = _text_tensor(document)
    texts = _checked_texts(tensor.get("data"), "inputs[0].data")
    if tensor.get("datatype") != "BYTES" or tensor.get("shape") != [len(texts)]:
        raise Refused(400, f"tensor 'text' must be BYTES of shape [{len(texts)}], as many as its data has")
    probabilities = await answer(texts)
    output = {
        "name": "probabilities",
        "datatype": "FP32",
        "shape": list(probabilities.shape),
        "data": [float(value) for value in probabilities.ravel()],
    }
    reply = {"model_name": MODEL_NAME, "model_version": teacher.version, "outputs": [output]}
    return reply | ({"id": document["id"]} if isinstance(document, dict) and "id" in document else {})


def _text_tensor(document: object) -> dict[str, Any]:
    tensors = document.get("inputs") if isinstance(document, dict) else None
    if isinstance(tensors, list) and len(tensors) == 1:
        tensor = tensors[0]
        if isinstance(tensor, dict) and tensor.get("name") == "text":
            return tensor
    raise Refused(400, "inputs must be a list of one tensor named 'text'")


def _checked_texts(texts: object, where: str) -> list[str]:
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise Refused(422, f"{where} must be a string or a list of strings")
    if not texts or not all(texts):
        raise Refused(422, f"{where} must not be empty, nor any text in it")
    if len(texts) > MAX_INPUTS:
        raise Refused(413, f"{where} has {len(texts)} texts; send at most {MAX_INPUTS} a request")
    if any(_has_lone_surrogate(text) for text in texts):
        raise Refused(422, f"{where} holds half of a surrogate pair, which is no Unicode text")
    return texts


def _has_lone_surrogate(text: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in text)


def _ranked(row: NDArray[np.float32], labels: Sequence[str]) -> list[dict[str, object]]:
    scores = zip(labels, row.tolist(), strict=True)
    return [{"score": score, "label": label} for label, score in sorted(scores, key=lambda pair: -pair[1])]


def _parsed(body: bytes) -> object:
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Refused(400, f"the body is not JSON in UTF-8: {error}") from error


async def _read_body(receive: Receive) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > MAX_BODY_BYTES:
            raise Refused(413, f"the body is larger than {MAX_BODY_BYTES} bytes")
        if not message.get("more_body"):
            return bytes(body)


async def _respond(send: Send, status: int, content: object, version: str) -> None:
    body = json.dumps(content).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (VERSION_HEADER, version.encode()),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def main() -> None:
    """Parse the command line and serve."""
    parser = argparse.ArgumentParser(description="Serve the help desk's teacher.")
    parser.add_argument("--folder", type=Path, required=True, help="where build_teacher wrote the teacher")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    arguments = parser.parse_args()
    serve(arguments.folder, arguments.host, arguments.port)


if __name__ == "__main__":
    main()
