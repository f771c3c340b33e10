"""JSON Pointer, with the examples of RFC 6901 section 5."""

from typing import Any

import pytest

from ledger.pointers import NOTHING, parse_pointer, resolve

DOCUMENT: dict[str, Any] = {
    "foo": ["bar", "baz"],
    "": 0,
    "a/b": 1,
    "c%d": 2,
    "e^f": 3,
    "g|h": 4,
    "i\\j": 5,
    'k"l': 6,
    " ": 7,
    "m~n": 8,
}


@pytest.mark.parametrize(
    ("pointer", "value"),
    [
        ("", DOCUMENT),
        ("/foo", ["bar", "baz"]),
        ("/foo/0", "bar"),
        ("/", 0),
        ("/a~1b", 1),
        ("/c%d", 2),
        ("/e^f", 3),
        ("/g|h", 4),
        ("/i\\j", 5),
        ('/k"l', 6),
        ("/ ", 7),
        ("/m~0n", 8),
    ],
)
def test_examples_of_the_standard(pointer: str, value: Any) -> None:
    """Each leads where the standard says."""
    assert resolve(DOCUMENT, parse_pointer(pointer)) == value


@pytest.mark.parametrize("pointer", ["/foo/2", "/foo/-", "/foo/00", "/foo/0/x", "/none", "/foo/-1", "/foo/²"])
def test_nowhere(pointer: str) -> None:
    """What does not exist is nothing, not an error."""
    assert resolve(DOCUMENT, parse_pointer(pointer)) is NOTHING


@pytest.mark.parametrize("text", ["foo", "/~", "/~2", "#/foo", " /foo"])
def test_what_is_no_pointer(text: str) -> None:
    """It is refused with the rule."""
    with pytest.raises(ValueError, match="RFC 6901"):
        parse_pointer(text)
