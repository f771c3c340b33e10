"""Content codings of teacher bodies, undone for the record only: callers always get the raw bytes."""

import zlib

MAX_DECODED_BYTES = 16 * 2**20
MAX_RATIO = 100  # decoded bytes for each encoded one; text compresses far less
_KNOWN = frozenset({"", "identity", "gzip", "x-gzip", "deflate"})
_GZIP_OR_ZLIB = zlib.MAX_WBITS | 32


def is_known(content_encoding: str) -> bool:
    """Whether decode_body can undo this coding; brotli and zstd would each take a package of their own."""
    return content_encoding.strip().lower() in _KNOWN


def decode_body(body: bytes, content_encoding: str) -> bytes | None:
    """The plain body, or None if the coding is unknown, the bytes are broken or they blow up."""
    coding = content_encoding.strip().lower()
    if coding in ("", "identity"):
        return body
    if coding in ("gzip", "x-gzip"):
        return _inflate(body, _GZIP_OR_ZLIB)
    if coding == "deflate":  # RFC 9110 means zlib, some servers send the raw stream
        plain = _inflate(body, _GZIP_OR_ZLIB)
        return plain if plain is not None else _inflate(body, -zlib.MAX_WBITS)
    return None


def _inflate(body: bytes, window_bits: int) -> bytes | None:
    limit = min(MAX_DECODED_BYTES, max(len(body), 1) * MAX_RATIO)
    stream = zlib.decompressobj(window_bits)
    try:
        plain = stream.decompress(body, limit + 1)
    except zlib.error:
        return None
    return plain if stream.eof and len(plain) <= limit else None
