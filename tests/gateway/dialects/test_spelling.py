"""Numbers, separators and identifiers in a peer's hand."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.dialects.spelling import dumps_like, fresh_id, single, spelling_of


@pytest.mark.parametrize(
    ("like", "written"),
    [
        ([0.9123, 0.0877], 0.1235),
        ([0.123456789012345], 0.12345678901234),
        ([0.8999999761581421], 0.12345678901234),
        ([0.8999999, 0.10000002], 0.12345679),
        ([1, 0, 0], 0.12345679),
        ([0.5, 0.25], 0.12345679),
        ([], 0.12345679),
    ],
)
def test_numbers(like: list[float], written: float) -> None:
    """Rounded to the peer's decimals, in single precision, or in full; too few digits say nothing."""
    assert spelling_of(like)(0.12345678901234) == written


@settings(max_examples=60)
@given(st.floats(0, 1, width=32))
def test_single_precision_is_kept(value: float) -> None:
    """The short spelling is the same number in single precision, and never a longer text."""
    assert single(single(value)) == single(value) == pytest.approx(value, rel=1e-7)
    assert len(repr(single(value))) <= len(repr(value))


@pytest.mark.parametrize(
    "peer", [b'{"a": 1}', b'{"a":1}', b'{"a":"\\u00e9"}', b'{"a": "\xc3\xa9"}', b'{"a": "\\u00e9"}\r\n']
)
def test_separators_and_escapes(peer: bytes) -> None:
    """A peer's own document is written as the peer wrote it."""
    assert dumps_like(json.loads(peer), peer) == peer


@pytest.mark.parametrize(
    "last", ["chatcmpl-B9MHDbslfkBeAs8l4", "chatcmpl-0a1b2c3d", "9f86d081-884c-7d65", "run_7", ""]
)
def test_identifiers(last: str) -> None:
    """Letters stay letters of their case, digits digits, hexadecimal hexadecimal; what stands before the dash stays."""
    found = fresh_id(last)
    assert len(found) == len(last)
    assert [letter for letter in found if not letter.isalnum()] == [c for c in last if not c.isalnum()]
    if "-" in last:
        assert found.split("-")[0] == last.split("-")[0]
        assert found != last
