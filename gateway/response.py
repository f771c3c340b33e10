"""How one response is framed (RFC 9112 sections 6 and 9.6): by its length, in chunks, or by the connection's end."""

from collections.abc import Sequence
from http import HTTPStatus

from gateway.asgi import Fields


def _status_line(status: int) -> bytes:
    known = {int(each): each.phrase for each in HTTPStatus}
    return b"HTTP/1.1 %d %b\r\n" % (status, known.get(status, "").encode())


_STATUS_LINES = {status: _status_line(status) for status in range(200, 1000)}
_WITHOUT_BODY = frozenset({204, 304})
_NO_LENGTH = -1


class Response:
    """What to write for the parts of one response, in order; `close` if the connection must not be used again."""

    __slots__ = ("_chunked", "_left", "_modern", "_without_body", "close", "complete", "started")

    def __init__(self, method: str, modern: bool, close: bool) -> None:
        self._without_body = method == "HEAD"
        self._modern = modern
        self._left = _NO_LENGTH  # body bytes that its Content-Length still announces
        self._chunked = False
        self.close = close
        self.started = self.complete = False

    @property
    def ends_with_connection(self) -> bool:
        return not (self._chunked or self._without_body) and self._left == _NO_LENGTH

    def head(self, status: int, fields: Fields, date_line: bytes) -> bytes:
        """Names have to be in lower case, names and values valid; of Connection only `close` is understood."""
        self.started = True
        if status in _WITHOUT_BODY:
            self._without_body = True
        parts = [_STATUS_LINES[status]]
        for name, value in fields:
            if name == b"content-length":
                self._left = int(value)
            elif name == b"date":
                date_line = b""
            elif name == b"connection":
                self.close = True
                continue
            parts += (name, b": ", value, b"\r\n")
        parts.append(date_line)
        if self.ends_with_connection and self._modern:
            self._chunked = True
            parts.append(b"transfer-encoding: chunked\r\n")
        if self.close:
            parts.append(b"connection: close\r\n")
        parts.append(b"\r\n")
        return b"".join(parts)

    def body(self, content: bytes, more: bool) -> Sequence[bytes]:
        """Raises ValueError on a body that is longer or shorter than its Content-Length."""
        self.complete = not more
        if self._without_body:
            return ()
        if self._chunked:
            parts = (b"%x\r\n" % len(content), content, b"\r\n") if content else ()
            return parts if more else (*parts, b"0\r\n\r\n")
        if self._left >= 0:
            self._left -= len(content)
            if self._left < 0 or (self._left and not more):
                self.complete = False
                raise ValueError("The body is not as long as its Content-Length says.")
        return (content,) if content else ()
