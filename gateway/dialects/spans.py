"""Where the values of a JSON document stand in its bytes, so that some can be exchanged and the rest stays."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import orjson

_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[{}\[\],:]|[^\s{}\[\],:"]+')
_SPACE = b" \t\r\n"

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Span:
    """One value: its path, its bytes, and where its member begins if it stands in an object."""

    path: Path
    start: int
    end: int
    key_start: int


def spans_of(document: bytes) -> Iterator[Span]:
    """Every value, containers after what they hold. The document has to be valid JSON."""
    path: list[str | int] = []
    keys: list[int] = []  # where the current key of each open object begins
    starts: list[int] = []
    key_follows = False
    for token in _TOKEN.finditer(document):
        mark = document[token.start()]
        if mark in b"{[":
            starts.append(token.start())
            keys.append(token.start())
            path.append("" if mark == ord("{") else 0)
            key_follows = mark == ord("{")
        elif mark in b"}]":
            path.pop()
            keys.pop()
            yield Span(tuple(path), starts.pop(), token.end(), keys[-1] if keys else 0)
            key_follows = False
        elif mark == ord(","):
            place = path[-1]
            key_follows = isinstance(place, str)
            if isinstance(place, int):
                path[-1] = place + 1
        elif mark == ord(":"):
            key_follows = False
        elif key_follows:
            path[-1], keys[-1] = orjson.loads(token[0]), token.start()
        else:
            yield Span(tuple(path), token.start(), token.end(), keys[-1] if keys else 0)


def exchanged(document: bytes, spans: Iterable[tuple[int, int, bytes]]) -> bytes:
    """The document with other bytes in the given spans, which must not overlap."""
    pieces, last = [], 0
    for start, end, content in sorted(spans):
        pieces += [document[last:start], content]
        last = end
    return b"".join([*pieces, document[last:]])


def without_members(document: bytes, members: Sequence[Span]) -> bytes:
    """The document without these members of objects, each with the comma that it no longer needs."""
    return exchanged(document, [(*_member(document, span), b"") for span in members])


def _member(document: bytes, span: Span) -> tuple[int, int]:
    end = span.end
    while document[end] in _SPACE:
        end += 1
    if document[end] == ord(","):
        end += 1
        while document[end] in _SPACE:
            end += 1
        return span.key_start, end
    start = len(document[: span.key_start].rstrip(_SPACE))
    return (start - 1 if document[start - 1] == ord(",") else span.key_start), span.end


def object_end(content: bytes, limit: int) -> int:
    """Where the JSON object that these bytes begin with ends, looked for in the first `limit` bytes; else 0."""
    depth = 0
    for token in _TOKEN.finditer(content, 0, limit):
        mark = content[token.start()]
        if mark in b"{[":
            depth += 1
        elif mark in b"}]":
            depth -= 1
            if depth == 0:
                return token.end()
    return 0
