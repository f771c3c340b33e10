"""The body of a request as it arrives, by length or in chunks (RFC 9112 sections 6.3 and 7.1), within its limits.

Chunks are read strictly: nothing but CRLF ends a line, sizes are plain hexadecimal, extensions are bounded and
ignored, trailer fields are checked, bounded and dropped.
"""

import re

from gateway.guard import CLOSE, Refused, too_large

_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})(?:[ \t]*;[\t\x20-\x7e\x80-\xff]*)?\r\n")
_TRAILER = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t\x20-\x7e\x80-\xff]*\r\n")
_FREE_LINE_BYTES = 18  # a size of many digits and its line end; what exceeds it counts as extension
_LINE_END = b"\r\n"

_INVALID = Refused(400, "chunk_invalid", "The body is not in chunks as RFC 9112 section 7.1 has them.", CLOSE)
_EXTENSIONS = Refused(
    400, "chunk_extensions", "The chunk extensions exceed gateway.max_chunk_extension_bytes.", CLOSE
)
_TRAILERS = Refused(431, "trailers_too_large", "The trailer fields exceed gateway.max_head_bytes.", CLOSE)


class SizedBody:
    """Feed it what arrives until it is `complete` or `refused`; `rest` is what followed it."""

    __slots__ = ("_missing", "_parts", "refused", "rest")

    def __init__(self, length: int, limit: int) -> None:
        self._missing = length
        self._parts: list[bytes] = []
        self.rest = b""
        self.refused = too_large(limit) if length > limit else None

    @property
    def complete(self) -> bool:
        return not self._missing

    def feed(self, arrived: bytes) -> None:
        part = arrived[: self._missing]
        self._parts.append(part)
        self._missing -= len(part)
        self.rest = arrived[len(part) :]

    def content(self) -> bytes:
        return self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)


class ChunkedBody:
    """The same for a body in chunks."""

    __slots__ = (
        "_extensions",
        "_limit",
        "_missing",
        "_parts",
        "_room",
        "_step",
        "_trailers",
        "complete",
        "refused",
        "rest",
    )

    def __init__(self, limit: int, extension_bytes: int, trailer_bytes: int) -> None:
        self._limit = self._room = limit
        self._extensions, self._trailers = extension_bytes, trailer_bytes  # what they may still have
        self._missing = 0  # of the chunk that is being read
        self._parts: list[bytes] = []
        self._step = self._size_line
        self.rest = b""
        self.complete = False
        self.refused: Refused | None = None

    def feed(self, arrived: bytes) -> None:
        content = self.rest + arrived if self.rest else arrived
        at, before = 0, -1
        while at > before and not self.complete and self.refused is None:
            before, at = at, self._step(content, at)
        self.rest = content[at:]

    def content(self) -> bytes:
        return b"".join(self._parts)

    # Each step reads one thing at `at` and returns where the next begins: the same place if it has not come whole.

    def _size_line(self, content: bytes, at: int) -> int:
        found = _SIZE.match(content, at)
        if found is None:
            return self._unread(content, at, self._extensions + _FREE_LINE_BYTES, _EXTENSIONS)
        self._extensions -= max(found.end() - at - _FREE_LINE_BYTES, 0)
        self._missing = int(found[1], 16)
        self._room -= self._missing
        if self._extensions < 0:
            self.refused = _EXTENSIONS
        elif self._room < 0:
            self.refused = too_large(self._limit)
        self._step = self._chunk if self._missing else self._trailer
        return found.end()

    def _chunk(self, content: bytes, at: int) -> int:
        part = content[at : at + self._missing]
        if part:
            self._parts.append(part)
            self._missing -= len(part)
        if not self._missing:
            self._step = self._chunk_end
        return at + len(part)

    def _chunk_end(self, content: bytes, at: int) -> int:
        end = content[at : at + 2]
        if end == _LINE_END:
            self._step = self._size_line
            return at + 2
        if not _LINE_END.startswith(end):
            self.refused = _INVALID
        return at

    def _trailer(self, content: bytes, at: int) -> int:
        if content.startswith(_LINE_END, at):
            self.complete = True
            return at + 2
        found = _TRAILER.match(content, at)
        if found is None:
            return self._unread(content, at, self._trailers, _TRAILERS)
        self._trailers -= found.end() - at
        if self._trailers < 0:
            self.refused = _TRAILERS
        return found.end()

    def _unread(self, content: bytes, at: int, limit: int, too_long: Refused) -> int:
        """A line that is not valid: it is too long, or wrong, or has not come to its end."""
        end = content.find(b"\n", at)
        if (end if end >= 0 else len(content)) - at > limit:
            self.refused = too_long
        elif end >= 0:
            self.refused = _INVALID
        return at
