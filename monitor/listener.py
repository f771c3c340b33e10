"""The monitor's own small HTTP server: /metrics and /livez, nothing else."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from sqlalchemy.exc import OperationalError

log = logging.getLogger("monitor.listener")


class MetricsServer(ThreadingHTTPServer):
    """Answers each request in a thread of its own. Raises OSError when the port is taken."""

    daemon_threads = True

    def __init__(self, address: tuple[str, int], registry: CollectorRegistry) -> None:
        self.registry = registry
        super().__init__(address, _MetricsRequest)


class _MetricsRequest(BaseHTTPRequestHandler):
    server: MetricsServer
    timeout = 10  # seconds that a silent client may hold a thread

    def do_GET(self) -> None:  # the name that http.server calls
        if self.path == "/livez":
            self._answer(200, "text/plain; charset=utf-8", b"ok\n")
        elif self.path.partition("?")[0] == "/metrics":
            self._answer_metrics()
        else:
            self._answer(404, "text/plain; charset=utf-8", b"only /metrics and /livez are here\n")

    def _answer_metrics(self) -> None:
        try:
            body = generate_latest(self.server.registry)
        except OperationalError as error:
            text = f"the control file cannot be read now: {error.orig}\n"
            return self._answer(503, "text/plain; charset=utf-8", text.encode())
        return self._answer(200, CONTENT_TYPE_LATEST, body)

    def _answer(self, status: int, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        log.debug(format, *args)


@contextmanager
def listening(address: str, registry: CollectorRegistry) -> Iterator[MetricsServer]:
    """Serve `host:port` until the block ends."""
    host, _, port = address.rpartition(":")
    server = MetricsServer((host, int(port)), registry)
    thread = Thread(target=server.serve_forever, name="metrics", daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
