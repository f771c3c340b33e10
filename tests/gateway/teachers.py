"""Teachers that misbehave on command: a uvicorn server for what HTTP allows, a bare socket for what it forbids."""

import asyncio
import gzip
import socket
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qsl

import orjson
import uvicorn

CLASSES = ("billing", "shipping", "other")


def scores_of(text: str) -> list[float]:
    """Deterministic probabilities of CLASSES: a class named in the text is nearly sure."""
    for index, name in enumerate(CLASSES):
        if name in text:
            return [0.9 if i == index else 0.05 for i in range(len(CLASSES))]
    return [0.5, 0.3, 0.2]


def entries_of(text: str) -> list[dict[str, Any]]:
    pairs = sorted(zip(CLASSES, scores_of(text), strict=True), key=lambda pair: -pair[1])
    return [{"score": score, "label": name} for name, score in pairs]


class TeacherApp:
    """An ASGI teacher; the query of a request says how it behaves, and `seen` keeps what arrived."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, bytes, bytes, tuple[tuple[bytes, bytes], ...], bytes]] = []
        self.cancelled = threading.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body = b""
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            if not message.get("more_body", False):
                break
        query = dict(parse_qsl(scope["query_string"].decode("latin-1")))
        self.seen.append(
            (scope["method"], scope["raw_path"], scope["query_string"], tuple(scope["headers"]), body)
        )
        await self._reply(query, scope["raw_path"], body, receive, send)

    async def _reply(self, query: dict[str, str], path: bytes, body: bytes, receive: Any, send: Any) -> None:
        if "wait" in query:
            try:
                await self._wait(float(query["wait"]), receive)
            except ConnectionAbortedError:
                self.cancelled.set()
                return
        content = _content(query, path, body)
        headers = [(b"content-type", b"application/json"), (b"Set-Cookie", b"a=1"), (b"set-cookie", b"b=2")]
        coding = query.get("coding")
        if coding:
            content = gzip.compress(content, mtime=0) if coding == "gzip" else zlib.compress(content)
            headers.append((b"content-encoding", coding.encode()))
        if "big_header" in query:
            headers.append((b"x-big", b"v" * int(query["big_header"])))
        if "version" in query:
            headers.append((b"x-model-version", query["version"].encode()))
        headers += (
            [(b"connection", b"keep-alive, x-secret-hop"), (b"x-secret-hop", b"1")] if "hop" in query else []
        )
        status = int(query.get("status", 200))
        await self._send(query, status, headers, content, receive, send)

    async def _send(
        self, query: dict[str, str], status: int, headers: Any, content: bytes, receive: Any, send: Any
    ) -> None:
        if status in (204, 304):
            await send({"type": "http.response.start", "status": status, "headers": headers[1:]})
            await send({"type": "http.response.body"})
            return
        pieces = int(query.get("pieces", 1))
        if "chunked" not in query:
            headers.append((b"content-length", str(len(content)).encode()))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        size = -(-len(content) // pieces) or 1
        for start in range(0, len(content), size):
            more = start + size < len(content)
            piece = content[start : start + size]
            await send({"type": "http.response.body", "body": piece, "more_body": more})
            if more and "pause" in query:
                await asyncio.sleep(float(query["pause"]))
            if more and "cut" in query:
                raise ConnectionAbortedError("cut on command")
        if not content:
            await send({"type": "http.response.body"})

    async def _wait(self, seconds: float, receive: Any) -> None:
        gone = asyncio.ensure_future(receive())
        done, _ = await asyncio.wait([gone], timeout=seconds)
        if done:
            raise ConnectionAbortedError("the gateway went away")
        gone.cancel()


def _content(query: dict[str, str], path: bytes, body: bytes) -> bytes:
    if "raw" in query:
        return query["raw"].encode()
    if "size" in query:
        return (b"0123456789abcdef" * (int(query["size"]) // 16 + 1))[: int(query["size"])]
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return b'{"error":"no json"}'
    if path.startswith(b"/v2/"):
        return _open_inference(document)
    inputs = document.get("inputs") if isinstance(document, dict) else None
    if isinstance(inputs, str):
        return orjson.dumps(entries_of(inputs))
    if isinstance(inputs, list) and all(isinstance(text, str) for text in inputs):
        return orjson.dumps([entries_of(text) for text in inputs])
    return b'{"error":"no inputs"}'


def _open_inference(document: Any) -> bytes:
    texts = document["inputs"][0]["data"]
    flat = [score for text in texts for score in scores_of(text)]
    reply = {
        "model_name": "desk",
        "model_version": "7",
        "outputs": [{"name": "probs", "datatype": "FP32", "shape": [len(texts), len(CLASSES)], "data": flat}],
    }
    if "id" in document:
        reply["id"] = document["id"]
    return orjson.dumps(reply)


@contextmanager
def serving(app: Any) -> Iterator[str]:
    """The app on a real uvicorn in a thread; yields its URL."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        app, log_config=None, log_level="critical", lifespan="off", ws="none", access_log=False
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = server.force_exit = True
        thread.join(10)


class BareTeacher:
    """A bare socket: reads one request head, writes `content`, ends the connection, with RST if told so."""

    def __init__(self) -> None:
        self.content = b""
        self.reset = False

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(self.content)
        await writer.drain()
        if self.reset:
            writer.transport.abort()
        writer.close()


@contextmanager
def serving_bytes(teacher: BareTeacher) -> Iterator[str]:
    """The bare teacher in a thread; yields its URL."""
    loop = asyncio.new_event_loop()
    started: list[asyncio.Server] = []
    ready = threading.Event()

    async def start() -> None:
        started.append(await asyncio.start_server(teacher, "127.0.0.1", 0))
        ready.set()

    def run() -> None:
        loop.run_until_complete(start())
        loop.run_forever()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        yield f"http://127.0.0.1:{started[0].sockets[0].getsockname()[1]}"
    finally:
        loop.call_soon_threadsafe(_stop, loop, started[0])
        thread.join(10)
        loop.close()


def _stop(loop: asyncio.AbstractEventLoop, server: asyncio.Server) -> None:
    server.close()
    for task in asyncio.all_tasks(loop):
        task.cancel()
    loop.call_later(0.05, loop.stop)
