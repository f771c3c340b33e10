"""Counts that survive a SIGKILL of the process that keeps them: a small memory-mapped file.

The kernel writes the pages of a killed process; only a power cut loses the last ones. One process writes, and
each count has one thread that adds to it, so that none needs a lock.
"""

import mmap
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

_NUMBER_BYTES = 8


class Drop(StrEnum):
    """Why a started request never became an exchange."""

    RECORD_QUEUE_FULL_COUNT = "record_queue_full_count"
    RECORD_QUEUE_FULL_BYTES = "record_queue_full_bytes"
    STORE_FAILED = "store_failed"  # the queue was full because the exchange file cannot be written
    SHUTDOWN = "shutdown"  # still in flight when the drain time was over
    UNWRITTEN = "unwritten"  # in the queue when the process ended with a file that cannot be written
    ROW_REFUSED = "row_refused"  # the file cannot hold this one
    CORRUPT = "corrupt"  # written, and lost with a broken exchange file


# Appended to, never reordered: the file outlives a release. `requests` counts those of all earlier blocks.
_SLOTS = ("block_first", "started", "requests", *Drop)
_AT = {slot: index for index, slot in enumerate(_SLOTS)}
_BLOCK_FIRST, _STARTED = _AT["block_first"], _AT["started"]


@dataclass(frozen=True, slots=True)
class TallyReading:
    """What a tally said at one moment."""

    block_first: int
    started: int
    dropped: Mapping[str, int]


def read_tally(path: Path) -> TallyReading | None:
    """Look without a lock and without writing, whoever counts there; None where there is no tally.

    One that an earlier release left is shorter: what it could not count is 0.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    size = _NUMBER_BYTES * len(_SLOTS)
    numbers = struct.unpack(f"={len(_SLOTS)}Q", content[:size].ljust(size, b"\0"))
    return TallyReading(
        numbers[_BLOCK_FIRST], numbers[_STARTED], {reason: numbers[_AT[reason]] for reason in Drop}
    )


class Tally:
    """Numbers of the current block of sequence numbers, readable after a crash."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        size = _NUMBER_BYTES * len(_SLOTS)
        self._file = path.open("a+b")
        self._file.write(
            bytes(max(0, size - path.stat().st_size))
        )  # a hole could not be filled on a full disk
        self._file.flush()
        self._pages = mmap.mmap(self._file.fileno(), size)
        self._numbers = memoryview(self._pages).cast("Q")

    @property
    def block_first(self) -> int:
        return self._numbers[_BLOCK_FIRST]

    @property
    def started(self) -> int:
        return self._numbers[_STARTED]

    @property
    def earlier_requests(self) -> int:
        """Requests of all blocks before this one."""
        return self._numbers[_AT["requests"]]

    @property
    def dropped(self) -> Mapping[str, int]:
        return {reason: self._numbers[_AT[reason]] for reason in Drop}

    def begin(self, block_first: int, earlier_requests: int = 0) -> None:
        """Start counting a new block from zero."""
        for index in range(len(_SLOTS)):
            self._numbers[index] = 0
        self._numbers[_BLOCK_FIRST] = block_first
        self._numbers[_AT["requests"]] = earlier_requests

    def start_request(self) -> int:
        """Count one more request and return its sequence number."""
        numbers = self._numbers
        started = numbers[_STARTED]
        numbers[_STARTED] = started + 1
        return numbers[_BLOCK_FIRST] + started

    def drop(self, reason: Drop, count: int = 1) -> None:
        self._numbers[_AT[reason]] += count

    def close(self) -> None:
        self._numbers.release()
        self._pages.close()
        self._file.close()
