"""uvicorn as this process needs it: sockets bound before anything else is touched, no signals, no log lines."""

import logging
import math
import socket
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

KEEP_ALIVE_SECONDS = 65  # above what clients and load balancers keep their pooled connections for
BACKLOG = 2048


class AddressTaken(Exception):
    """The address cannot be listened on."""

    def __init__(self, setting: str, address: str, error: OSError) -> None:
        super().__init__(
            f"{setting} = {address!r} cannot be listened on: {error.strerror or error}."
            f" Stop what listens there, or set another {setting}."
        )


class Protocol(HttpToolsProtocol):
    """Keeps trailers out of the headers, where uvicorn would append them, and keeps the target as it came."""

    def on_headers_complete(self) -> None:
        self.scope["headers"] = tuple(self.headers)
        if self.url.startswith(b"/") and b"#" not in self.url:
            self.scope["stillgate.target"] = self.url  # type: ignore[typeddict-unknown-key]
        super().on_headers_complete()


class Server(uvicorn.Server):
    """Leaves signals to the process: two servers share one event loop."""

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


def bind(setting: str, address: str) -> socket.socket:
    """A socket bound to host:port. Raises AddressTaken."""
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, int(port)))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise AddressTaken(setting, address, error) from error
    return listener


def server(app: Any, drain_seconds: float) -> Server:
    """A server of one ASGI application that adds nothing to what the application says."""
    logging.getLogger("uvicorn.error").setLevel(
        logging.CRITICAL + 1
    )  # it reports our cut responses as errors
    config = uvicorn.Config(
        app,
        http=Protocol,
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=math.ceil(drain_seconds),
    )
    return Server(config)
