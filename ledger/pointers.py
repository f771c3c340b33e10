"""JSON Pointer (RFC 6901): naming one place in a document."""

import re
from collections.abc import Sequence
from typing import Any, Final

Pointer = tuple[str, ...]  # reference tokens, unescaped; () is the whole document

_POINTER = re.compile(r"(?:/(?:[^~/]|~[01])*)*")
_INDEX = re.compile(r"0|[1-9][0-9]{0,8}")


class Nothing:
    """The type of NOTHING, which no JSON document holds."""


NOTHING: Final = Nothing()  # a pointer led nowhere


def parse_pointer(text: str) -> Pointer:
    """Raises ValueError for a text that is no pointer."""
    if _POINTER.fullmatch(text) is None:
        raise ValueError(
            f"{text!r} is not a JSON Pointer (RFC 6901): empty for the whole document, or /name/0/name,"
            " with ~0 for ~ and ~1 for / inside a name"
        )
    return tuple(token.replace("~1", "/").replace("~0", "~") for token in text.split("/")[1:])


def resolve(document: Any, pointer: Sequence[str]) -> Any:
    """The value at a pointer, or NOTHING."""
    for token in pointer:
        if isinstance(document, dict):
            document = document.get(token, NOTHING)
        elif isinstance(document, list) and _INDEX.fullmatch(token) and int(token) < len(document):
            document = document[int(token)]
        else:
            return NOTHING
    return document
