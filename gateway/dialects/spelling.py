"""Writing JSON as a peer writes it: separators, escapes, digits, identifiers of the same look."""

import json
import math
import random
import re
import string
import struct
from collections.abc import Callable, Sequence
from typing import Any

import orjson

MAX_SHORT_DECIMALS = 6  # a peer whose numbers have at most so many rounds them
MIN_SHORT_DECIMALS = 3  # fewer can be chance: 0.5 says nothing about rounding
_SPACED = re.compile(rb'"\s*:\s')
_LETTERS = {
    **dict.fromkeys(string.digits, string.digits),
    **dict.fromkeys(string.ascii_lowercase, string.ascii_lowercase),
    **dict.fromkeys(string.ascii_uppercase, string.ascii_uppercase),
}
_HEX = {**_LETTERS, **dict.fromkeys("0123456789abcdef", "0123456789abcdef")}


def dumps_like(document: Any, peer: bytes) -> bytes:
    """JSON with the separators, escapes and end of line that the peer's JSON has."""
    end = peer[len(peer.rstrip()) :]
    escaped = peer.isascii()
    if _SPACED.search(peer) is None and not (escaped and b"\\u" in peer):
        return orjson.dumps(document) + end
    separators = (", ", ": ") if _SPACED.search(peer) else (",", ":")
    return json.dumps(document, ensure_ascii=escaped, separators=separators).encode() + end


def spelling_of(values: Sequence[Any]) -> Callable[[float], float]:
    """How a peer that wrote these numbers would round another: to its decimals, to single precision, or not."""
    floats = [float(value) for value in values if isinstance(value, int | float)]
    decimals = max((_decimals(value) for value in floats), default=0)
    if MIN_SHORT_DECIMALS <= decimals <= MAX_SHORT_DECIMALS:
        return lambda value: round(value, decimals)
    if all(single(value) == value for value in floats):
        return single
    return float


def single(value: float) -> float:
    """The shortest number that single precision cannot tell from this one."""
    try:
        packed = struct.pack("<f", value)
    except OverflowError:
        return value
    if not math.isfinite(value):
        return value
    candidates = (float(f"{value:.{digits}g}") for digits in range(6, 10))
    return next((near for near in candidates if struct.pack("<f", near) == packed), value)


def fresh_id(last: str) -> str:
    """An identifier of the same look: letters and digits after the first dash change, kind for kind."""
    prefix, dash, rest = last.partition("-")
    if not dash:
        prefix, rest = "", last
    alphabet = _HEX if set(rest) <= set("0123456789abcdef-") else _LETTERS
    return prefix + dash + "".join(random.choice(alphabet.get(letter, letter)) for letter in rest)


def _decimals(value: float) -> int:
    return len(repr(value).partition(".")[2]) if "e" not in repr(value) else MAX_SHORT_DECIMALS + 1
