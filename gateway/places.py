"""Values in a request's JSON body that slice rules name by pointer."""

from collections.abc import Sequence
from typing import Any

import orjson

from gateway.dialects.dialect import NOT_JSON, read_json
from gateway.dialects.spans import object_end
from gateway.dialects.tensors import MAX_HEAD_BYTES
from ledger.pointers import NOTHING, resolve


def head_document(body: bytes) -> Any:
    """The JSON of a body, also where binary tensors stand behind it; NOTHING where there is none."""
    document = read_json(body)
    if document is NOT_JSON:
        document = read_json(body[: object_end(body, MAX_HEAD_BYTES)])
    return NOTHING if document is NOT_JSON else document


def text_at(document: Any, place: Sequence[str]) -> str | None:
    """A text as it is, a number or truth value as JSON writes it; None for everything else."""
    value = resolve(document, place)
    if isinstance(value, str):
        return value
    return orjson.dumps(value).decode() if isinstance(value, (bool, int, float)) else None
