"""Tensors of the Open Inference Protocol v2: values as JSON, or as bytes behind the JSON (binary tensor data).

The extension is Triton's (extension_binary_data.md): numbers little endian in row-major order, each text as
four bytes of length and its bytes.
"""

import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.dialects.dialect import NOT_JSON, NotJson, are_numbers, read_json
from gateway.dialects.spans import object_end

SIZE = "binary_data_size"  # the parameter of a tensor whose values stand behind the JSON
FLOATS = frozenset({"FP64", "FP32", "FP16", "BF16"})
NUMBERS = FLOATS | {f"{sign}INT{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64)} | {"BOOL"}
MAX_HEAD_BYTES = 64 * 1024  # of the JSON in front of binary data; tensors are few
_FORMATS = {"FP64": "d", "FP32": "f", "FP16": "e"}
_LENGTH = struct.Struct("<I")


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor whose values agree in number with its shape."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    values: tuple[Any, ...]  # str for BYTES, numbers else
    binary: bool


def split_body(body: bytes, key: str) -> tuple[Any, bytes] | NotJson:
    """The document, and the bytes behind it that the tensors of its list `key` announce.

    The announced sizes tell where the JSON ends, so that no header is needed for it.
    """
    document = read_json(body)
    if not isinstance(document, NotJson):
        return document, b""
    end = object_end(body, MAX_HEAD_BYTES)
    document = read_json(body[:end])
    tensors = document.get(key) if isinstance(document, dict) else None
    if not isinstance(tensors, list):
        return NOT_JSON
    start = len(body) - sum(binary_size(tensor) or 0 for tensor in tensors)
    return (document, body[start:]) if start >= end and not body[end:start].strip() else NOT_JSON


def binary_size(tensor: Any) -> int | None:
    """The bytes that a tensor announces, None if its values are JSON."""
    parameters = tensor.get("parameters") if isinstance(tensor, dict) else None
    size = parameters.get(SIZE) if isinstance(parameters, dict) else None
    return size if isinstance(size, int) and size >= 0 else None


def read_tensors(tensors: Sequence[Any], binary: bytes) -> list[Tensor | None]:
    """Each tensor, or None where name, datatype, shape and values do not fit together."""
    found: list[Tensor | None] = []
    start = 0
    for tensor in tensors:
        size = binary_size(tensor)
        content = None if size is None else binary[start : start + size]
        start += size or 0
        found.append(_read_tensor(tensor, content) if isinstance(tensor, dict) else None)
    return found


def _read_tensor(tensor: Mapping[str, Any], content: bytes | None) -> Tensor | None:
    name, datatype, shape = tensor.get("name"), tensor.get("datatype"), tensor.get("shape")
    if not isinstance(name, str) or not isinstance(datatype, str) or not isinstance(shape, list):
        return None
    if not all(isinstance(n, int) and not isinstance(n, bool) and n >= 0 for n in shape):
        return None
    values = _decoded(datatype, content) if content is not None else flat(tensor.get("data"))
    if values is None or len(values) != math.prod(shape) or not _is_of(datatype, values):
        return None
    return Tensor(name, datatype, tuple(shape), tuple(values), content is not None)


def _is_of(datatype: str, values: Sequence[Any]) -> bool:
    if datatype == "BYTES":
        return all(isinstance(value, str) for value in values)
    return datatype not in FLOATS or are_numbers(values)


def flat(values: Any) -> Sequence[Any] | None:
    """Tensors may be written flat or in rows of any depth; all hold the same values in the same order."""
    while isinstance(values, list) and values and all(isinstance(row, list) for row in values):
        values = [value for row in values for value in row]
    return values if isinstance(values, list) else None


def encode(datatype: str, values: Sequence[Any]) -> bytes:
    """Values as binary tensor data, of BYTES or one of FLOATS."""
    if datatype == "BYTES":
        texts = [value.encode() for value in values]
        return b"".join([_LENGTH.pack(len(text)) + text for text in texts])
    if datatype == "BF16":  # the upper half of single precision
        singles = struct.unpack(f"<{len(values)}I", struct.pack(f"<{len(values)}f", *values))
        return struct.pack(f"<{len(values)}H", *[(bits + 0x8000) >> 16 for bits in singles])
    return struct.pack(f"<{len(values)}{_FORMATS[datatype]}", *values)


def _decoded(datatype: str, content: bytes) -> Sequence[Any] | None:
    if datatype == "BYTES":
        return _texts(content)
    if datatype == "BF16" and len(content) % 2 == 0:
        halves = struct.unpack(f"<{len(content) // 2}H", content)
        return struct.unpack(f"<{len(halves)}f", struct.pack(f"<{len(halves)}I", *[h << 16 for h in halves]))
    width = struct.calcsize(_FORMATS[datatype]) if datatype in _FORMATS else 0
    if not width or len(content) % width:
        return None
    return struct.unpack(f"<{len(content) // width}{_FORMATS[datatype]}", content)


def _texts(content: bytes) -> list[str] | None:
    texts, start = [], 0
    while start < len(content):
        end = start + 4
        if end > len(content):
            return None
        length = _LENGTH.unpack_from(content, start)[0]
        if end + length > len(content):
            return None
        try:
            texts.append(content[end : end + length].decode())
        except UnicodeDecodeError:
            return None
        start = end + length
    return texts
