"""Counts that survive a SIGKILL of the process that keeps them: a small memory-mapped file.

The kernel writes the pages of a killed process; only a power cut loses the last ones. One process writes.
"""

import mmap
import struct
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path

_NUMBER = struct.Struct("<Q")


class Drop(StrEnum):
    """Why a started request never became an exchange."""

    RECORD_QUEUE_FULL_COUNT = "record_queue_full_count"
    RECORD_QUEUE_FULL_BYTES = "record_queue_full_bytes"
    STORE_FAILED = "store_failed"  # the exchange file could not be written, retried until the queue's end
    SHUTDOWN = "shutdown"  # still in flight when the drain time was over


_SLOTS = ("block_first", "started", *Drop)  # appended to, never reordered: the file outlives a release


class Tally:
    """Numbers of the current block of sequence numbers, readable after a crash."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a+b")
        self._file.truncate(_NUMBER.size * len(_SLOTS))
        self._pages = mmap.mmap(self._file.fileno(), _NUMBER.size * len(_SLOTS))

    @property
    def block_first(self) -> int:
        return self._get("block_first")

    @property
    def started(self) -> int:
        return self._get("started")

    @property
    def dropped(self) -> Mapping[str, int]:
        return {reason: self._get(reason) for reason in Drop}

    def begin(self, block_first: int) -> None:
        """Start counting a new block from zero."""
        for slot in _SLOTS:
            self._set(slot, 0)
        self._set("block_first", block_first)

    def start_request(self) -> int:
        """Count one more request and return its sequence number."""
        number = self.started
        self._set("started", number + 1)
        return self.block_first + number

    def drop(self, reason: Drop, count: int = 1) -> None:
        self._set(reason, self._get(reason) + count)

    def close(self) -> None:
        self._pages.close()
        self._file.close()

    def _get(self, slot: str) -> int:
        return int(_NUMBER.unpack_from(self._pages, _NUMBER.size * _SLOTS.index(slot))[0])

    def _set(self, slot: str, value: int) -> None:
        _NUMBER.pack_into(self._pages, _NUMBER.size * _SLOTS.index(slot), value)
