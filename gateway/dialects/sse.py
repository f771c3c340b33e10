"""Server-sent events as the HTML standard reads them (section 9.2.6), over the bytes of a stream."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_LINE = re.compile(rb"[^\r\n]+")
_BLOCK_END = re.compile(rb"(?>\r\n|\r|\n)(?>\r\n|\r|\n)")  # atomic: a CR LF is one end of line, never two


@dataclass(frozen=True, slots=True)
class Event:
    """One event that holds data, joined by line feeds, and the block of lines that it came in."""

    data: bytes
    name: bytes  # of the event field; empty stands for "message"
    block: bytes
    place: tuple[int, int] | None  # of the data in the block, if it stands on one line

    def with_data(self, data: bytes) -> bytes:
        """The block with other data; as it is if its data stands on several lines."""
        if self.place is None:
            return self.block
        start, end = self.place
        return self.block[:start] + data + self.block[end:]


def blocks_of(stream: bytes) -> Iterator[bytes]:
    """The stream in pieces that each end with a blank line, but for what follows the last one."""
    last = 0
    for found in _BLOCK_END.finditer(stream):
        yield stream[last : found.end()]
        last = found.end()
    if last < len(stream):
        yield stream[last:]


def event_of(block: bytes) -> Event | None:
    """What a block says; None if it holds no data (comments, keep-alives). Unknown fields say nothing."""
    name = b""
    data: list[bytes] = []
    place = None
    for line in _LINE.finditer(block):
        field, _, value = line[0].removeprefix(_BYTE_ORDER_MARK).partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            data.append(value)
            place = (line.end() - len(value), line.end())
        elif field == b"event":
            name = value
    if not data:
        return None
    return Event(b"\n".join(data), name, block, place if len(data) == 1 else None)


def events_of(stream: bytes) -> Iterator[Event]:
    """Every event with data. A block that the stream's end cut off is given too; readers of a stream know by
    its last event whether it was whole."""
    for block in blocks_of(stream):
        event = event_of(block)
        if event is not None:
            yield event


def ended_length(stream: bytes) -> int:
    """How many of these bytes belong to ended blocks."""
    end = 0
    for found in _BLOCK_END.finditer(stream):
        end = found.end()
    return end
