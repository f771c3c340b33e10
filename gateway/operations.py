"""The operations port: /livez, /readyz and /metrics, apart from what callers can reach.

Ready means listening, configured and not draining. Teacher, store, student and monitor show as degraded in
/metrics and pull no replica.
"""

from collections.abc import Callable

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

from gateway.asgi import Receive, Scope, Send

_TEXT = "text/plain; charset=utf-8"


class Operations:
    """The ASGI application of the operations port."""

    def __init__(self, registry: CollectorRegistry, is_ready: Callable[[], bool]) -> None:
        self._registry, self._is_ready = registry, is_ready

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        status, content_type, body = self._reply(scope["method"], scope["raw_path"])
        headers = [(b"content-type", content_type.encode()), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def _reply(self, method: str, path: bytes) -> tuple[int, str, bytes]:
        if method not in ("GET", "HEAD"):
            return 405, _TEXT, b"GET or HEAD\n"
        if path == b"/livez":
            return 200, _TEXT, b"alive\n"
        if path == b"/readyz":
            return (200, _TEXT, b"ready\n") if self._is_ready() else (503, _TEXT, b"draining\n")
        if path == b"/metrics":
            return 200, CONTENT_TYPE_PLAIN_0_0_4, generate_latest(self._registry)
        return 404, _TEXT, b"/livez, /readyz or /metrics\n"
