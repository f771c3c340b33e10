"""Reads the fields of a protocol-buffer message without its schema, as much as it takes to look into an ONNX file.

Wire format: protobuf.dev/programming-guides/encoding. Serving carries neither the onnx package nor its parser.
"""

from collections.abc import Iterator

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5  # wire types; groups (3, 4) are long gone
_FIXED = {FIXED64: 8, FIXED32: 4}
_LONGEST_VARINT = 10  # bytes


class Malformed(Exception):
    """The bytes are no message."""


def fields_of(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """(field number, value): a whole number, or the bytes of a text, a message or a fixed number."""
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        number, kind = key >> 3, key & 7
        if kind == VARINT:
            value, place = _varint(message, place)
            yield number, value
            continue
        if kind == BYTES:
            length, place = _varint(message, place)
        elif kind in _FIXED:
            length = _FIXED[kind]
        else:
            raise Malformed(f"wire type {kind} at byte {place}")
        if place + length > len(message):
            raise Malformed(f"a field ends {place + length - len(message)} bytes behind the message")
        yield number, message[place : place + length]
        place += length


def _varint(message: memoryview, place: int) -> tuple[int, int]:
    """The number that begins there, and where the next thing begins."""
    number = 0
    for shift, at in enumerate(range(place, min(place + _LONGEST_VARINT, len(message)))):
        number |= (message[at] & 0x7F) << (7 * shift)
        if message[at] < 0x80:
            return number, at + 1
    raise Malformed(f"a number at byte {place} has no end")
