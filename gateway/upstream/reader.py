"""Responses of one connection, one after the other: bytes in, status, fields and body out. No transport, no clock.

llhttp (through httptools) reads; what it lets pass and RFC 9112 forbids is refused here: a version other than
1.0 and 1.1, a status outside 100-599, controls in the reason, a transfer coding other than one `chunked`,
content in a 1xx or 204, heads above the limits, and 101, which nobody asked for. Other interim responses and
trailers are read and dropped.
"""

import httptools

_STATUS_LINE_BYTES = 1024  # what a head may have beside its fields
FIELD_BYTES = bytes([9, *range(32, 127), *range(128, 256)])  # field-vchar, obs-text, SP and HTAB


class Malformed(Exception):
    """Raised in a callback to stop the parser; never leaves this module."""


class ResponseReader:
    """After `begin`, feed it what arrives; `buffered` bytes of body wait to be taken."""

    __slots__ = (
        "_bodiless",
        "_chunks",
        "_interim",
        "_max_bytes",
        "_max_fields",
        "_parser",
        "_unpaid",
        "_until_close",
        "buffered",
        "ended",
        "headers",
        "malformed",
        "reusable",
        "started",
        "status",
    )

    def __init__(self, max_head_bytes: int, max_fields: int) -> None:
        self._max_bytes, self._max_fields = max_head_bytes, max_fields
        self._parser = httptools.HttpResponseParser(self)
        self._bodiless = False
        self.begin(bodiless=False)

    def begin(self, bodiless: bool) -> None:
        """Expect the response to one request; `bodiless` if that was a HEAD."""
        self.status = 0  # until the whole head of the final response is there
        self.headers: list[tuple[bytes, bytes]] = []  # names in lower case
        self.started = False  # at least one byte has come
        self.ended = False
        self.malformed = False
        self.reusable = False  # whether the connection can carry another request
        self.buffered = 0
        self._chunks: list[bytes] = []
        if self._bodiless:
            self._parser = httptools.HttpResponseParser(self)  # the old one waits for the body of a HEAD
        self._bodiless = bodiless
        self._interim = self._until_close = False
        self._unpaid = 0  # bytes that came since the last progress: bounds heads, trailers, chunk extensions

    def feed(self, chunk: bytes) -> None:
        if not self.started:
            self.started = True
            if chunk[0] != 0x48:  # H; llhttp would pass over empty lines
                self.malformed = True
                return
        self._unpaid += len(chunk)
        try:
            self._parser.feed_data(chunk)
        except httptools.HttpParserError:
            self.reusable = False  # what follows an ended response is not for anybody
            self.malformed = not self.ended
        if self._unpaid > self._max_bytes + _STATUS_LINE_BYTES and not self.ended:
            self.malformed = True

    def end_of_connection(self) -> None:
        """No more bytes will come: the proper end of a response without a length, no end for any other."""
        if self._until_close and self.status and not self.malformed:
            self.ended = True

    def take(self) -> bytes:
        """The body that has arrived since the last time."""
        chunks = self._chunks
        if not chunks:
            return b""
        self._chunks, self.buffered = [], 0
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    # --- httptools calls these ---------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self.ended:
            raise Malformed

    def on_status(self, reason: bytes) -> None:
        if reason != b"OK" and reason.translate(None, FIELD_BYTES):
            raise Malformed

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.status:  # afterwards it is a trailer
            self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        self._check_head(status)
        if status < 200:
            self._interim = True
            return
        self.status, self._unpaid = status, 0
        if self._bodiless:
            self._end()

    def on_body(self, chunk: bytes) -> None:
        if self.ended:
            raise Malformed  # of a HEAD
        self._unpaid = 0
        self._chunks.append(chunk)
        self.buffered += len(chunk)

    def on_message_complete(self) -> None:
        if self._interim:
            self._interim, self.headers = False, []
        elif not self.ended:
            self._end()

    def _end(self) -> None:
        self.ended, self.reusable = True, self._parser.should_keep_alive()

    def _check_head(self, status: int) -> None:
        version = self._parser.get_http_version()
        if version not in ("1.1", "1.0") or not 100 <= status < 600 or status == 101:
            raise Malformed
        names = [name for name, _ in self.headers]
        if len(names) > self._max_fields or self._unpaid > self._max_bytes:
            self._check_size()
        has_length = b"content-length" in names
        has_coding = b"transfer-encoding" in names
        if has_coding and (version == "1.0" or self._values(b"transfer-encoding") != [b"chunked"]):
            raise Malformed
        empty = status < 200 or status == 204
        if empty and (has_coding or (has_length and self._values(b"content-length") != [b"0"])):
            raise Malformed
        self._until_close = not (has_length or has_coding or empty or status == 304)

    def _check_size(self) -> None:
        """`_unpaid` counts what came after the head too, so it only says that counting is worth while."""
        size = sum(len(name) + len(value) + 3 for name, value in self.headers)  # colon, CR, LF
        if len(self.headers) > self._max_fields or size > self._max_bytes:
            raise Malformed

    def _values(self, wanted: bytes) -> list[bytes]:
        return [value.strip(b" \t").lower() for name, value in self.headers if name == wanted]
