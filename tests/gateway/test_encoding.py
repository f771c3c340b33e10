"""Undoing content codings for the record."""

import gzip
import zlib

import pytest

from gateway.encoding import MAX_DECODED_BYTES, decode_body, is_known

TEXT = b'{"inputs":"hello"}'
RAW = zlib.compressobj(wbits=-15)


@pytest.mark.parametrize(
    ("body", "coding", "plain"),
    [
        (TEXT, "", TEXT),
        (TEXT, "identity", TEXT),
        (gzip.compress(TEXT, mtime=0), "gzip", TEXT),
        (gzip.compress(TEXT, mtime=0), " X-GZIP", TEXT),
        (zlib.compress(TEXT), "deflate", TEXT),
        (RAW.compress(TEXT) + RAW.flush(), "deflate", TEXT),
        (TEXT, "gzip", None),
        (gzip.compress(TEXT, mtime=0)[:-9], "gzip", None),
        (TEXT, "br", None),
        (gzip.compress(TEXT, mtime=0), "gzip, gzip", None),
    ],
)
def test_codings(body: bytes, coding: str, plain: bytes | None) -> None:
    """gzip and deflate are undone; broken, cut and unknown ones are not."""
    assert decode_body(body, coding) == plain


def test_bombs_are_not_inflated() -> None:
    """A body that grows more than a hundredfold, or above the cap, is left alone."""
    assert decode_body(gzip.compress(bytes(5_000_000)), "gzip") is None
    assert decode_body(gzip.compress(bytes(MAX_DECODED_BYTES + 1), compresslevel=0), "gzip") is None


@pytest.mark.parametrize(("coding", "known"), [("GZIP ", True), ("", True), ("br", False), ("zstd", False)])
def test_known_codings(coding: str, known: bool) -> None:
    """A reply in a coding that we cannot undo has a reason of its own, not that of a broken one."""
    assert is_known(coding) is known
