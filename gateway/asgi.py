"""The words in which the server and the application speak: ASGI 3, and what ours says beyond it."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Protocol

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Fields = list[tuple[bytes, bytes]]  # header fields in order, names in lower case

TARGET = "stillgate.target"  # scope: the request target for the teacher, byte for byte: path and query, or *
AUTHORITY = (
    "stillgate.authority"  # scope: the host that the caller asked, from an absolute target or from Host
)
CALLER = "stillgate.caller"  # scope: a Caller
ALONE = (
    "stillgate.alone"  # http.response.start: no body is there yet, so the head leaves without waiting for it
)
REFUSED = "stillgate.refused"  # type of the message in place of a body that cannot be had; `refused` says why


class Caller(Protocol):
    """Who is at the other end. The server cancels the application when its caller leaves, at any time."""

    gone: bool
    trusted: bool  # one of gateway.trusted_proxies
