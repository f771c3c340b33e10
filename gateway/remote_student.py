"""A student elsewhere, asked in shadow over Open Inference Protocol v2: probabilities out, in the task's order.

Off every caller's path, so that a connection for each group is no matter; nothing is pooled, nothing can leak.
"""

import asyncio
import logging
import ssl
from collections.abc import Sequence
from urllib.parse import urlsplit

import httptools
import orjson

from gateway.dialects.dialect import Asked
from gateway.dialects.open_inference import open_inference
from ledger.configuration import OpenInferenceSection, RemoteStudentSection
from ledger.exchange import Unpaired
from student.wire import MAX_FRAME_BYTES, Refusal, Response

LOOP_STATUS = 508  # RFC 5842 section 7.2; what a gateway says whose own name stands in Via
CHUNK_BYTES = 65536

log = logging.getLogger(__name__)


class RemoteStudent:
    """Answers as the student process does: one observation per text or a refusal, and it never raises."""

    def __init__(self, settings: RemoteStudentSection, classes: Sequence[str], pseudonym: str) -> None:
        url = urlsplit(settings.url)
        self._settings = settings
        self._parse_response = open_inference(classes, OpenInferenceSection()).parse_response
        self._host, self._port = url.hostname or "", url.port or (443 if url.scheme == "https" else 80)
        self._tls = ssl.create_default_context() if url.scheme == "https" else None
        version = f"/versions/{settings.version}" if settings.version else ""
        self._head = (
            f"POST /v2/models/{settings.model}{version}/infer HTTP/1.1\r\nHost: {url.netloc}\r\n"
            f"Via: 1.1 {pseudonym}\r\nContent-Type: application/json\r\nConnection: close\r\n"
        )
        self._last_refusal: Refusal | None = None

    async def ask(self, artifact: str, texts: Sequence[str], deadline_seconds: float) -> Response:
        try:
            async with asyncio.timeout(deadline_seconds):
                said = await self._ask(texts)
        except TimeoutError:
            said = Refusal.DEADLINE
        except OSError:  # nobody listens, the connection broke, TLS failed
            said = Refusal.STUDENT_DOWN
        self._note(said)
        return said

    async def _ask(self, texts: Sequence[str]) -> Response:
        try:
            tensor = {
                "name": self._settings.input_name,
                "shape": [len(texts)],
                "datatype": "BYTES",
                "data": texts,
            }
            body = orjson.dumps({"inputs": [tensor]})
        except TypeError:  # a lone surrogate
            return Refusal.FAILED
        reply = await self._post(body)
        if isinstance(reply, Refusal):
            return reply
        status, content = reply
        if status == LOOP_STATUS:
            return Refusal.LOOP
        if status != 200:
            return Refusal.QUEUE_FULL if status in (429, 503) else Refusal.FAILED
        said = self._parse_response(content, Asked(tuple(texts), "all", True))
        return Refusal.FAILED if isinstance(said, Unpaired) else said

    async def _post(self, body: bytes) -> tuple[int, bytes] | Refusal:
        reader, writer = await asyncio.open_connection(self._host, self._port, ssl=self._tls)
        try:
            writer.write(f"{self._head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            await writer.drain()
            reply = _Reply()
            while not reply.complete:
                chunk = await reader.read(CHUNK_BYTES)
                if not chunk or not reply.feed(chunk):
                    return Refusal.FAILED
            return reply.status, b"".join(reply.parts)
        finally:
            writer.transport.abort()

    def _note(self, said: Response) -> None:
        """A change of what is wrong, once."""
        refusal = said if isinstance(said, Refusal) else None
        if refusal is not self._last_refusal:
            self._last_refusal = refusal
            where = f"{self._settings.artifact} at {self._settings.url}"
            if refusal is None:
                log.info("%s answers. action=remote_student_answers", where)
            else:
                log.warning("%s does not answer: %s. action=remote_student_refused", where, refusal)


class _Reply:
    """Callbacks of httptools; a body without a length is refused, since its end could be a cut."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.size, self.status, self.complete = 0, 0, False
        self._parser = httptools.HttpResponseParser(self)

    def feed(self, chunk: bytes) -> bool:
        """Whether it still is a reply, within the size of a frame."""
        try:
            self._parser.feed_data(chunk)
        except httptools.HttpParserError:
            return self.complete
        return self.size <= MAX_FRAME_BYTES

    def on_body(self, part: bytes) -> None:
        self.parts.append(part)
        self.size += len(part)

    def on_message_complete(self) -> None:
        self.status, self.complete = self._parser.get_status_code(), True
