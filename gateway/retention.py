"""Removing old exchanges, a small slice at a time, by the one thread that writes the file.

What the monitor has not folded yet is not removed for its age. The cap on the file's size is kept in any case: a
monitor that is dead must not fill the disk. Removed exchanges still count as recorded.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from ledger.clock import now_us
from ledger.exchange_file import ExchangeFile

SLICE_ROWS = 100  # removed in one transaction, in one turn between two groups
VACUUM_PAGES = 64  # given back to the file system in one turn
FREE_PAGES = 256  # kept for the next rows
ROOM = 0.95  # of the cap: what is removed at one time is a little more than needed
DAY_US = 86_400_000_000

AGE, SIZE, SIZE_UNFOLDED = "age", "size", "size_unfolded"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Retention:
    """An upkeep of the writer."""

    days: float | None
    max_bytes: int
    folded: Callable[[], int | None]  # the number of the last answer that the monitor has read; None: unknown

    def __call__(self, file: ExchangeFile) -> bool:
        """Remove a slice of what is due; whether more is. Raises sqlite3.Error."""
        return self._remove_slice(file) or file.shrink(VACUUM_PAGES, FREE_PAGES)

    def _remove_slice(self, file: ExchangeFile) -> bool:
        oldest = file.oldest(SLICE_ROWS)
        unfolded = file.unfolded([sequence for sequence, _ in oldest], self.folded() or 0)
        if file.used_bytes() > self.max_bytes * ROOM:
            early = [sequence for sequence, _ in oldest if sequence in unfolded]
            file.remove([sequence for sequence, _ in oldest if sequence not in unfolded], SIZE)
            file.remove(early, SIZE_UNFOLDED)
            if early:
                log.warning(
                    "%d exchanges that the monitor has not folded were removed: the file is at"
                    " retention.max_bytes = %d. action=unfolded_removed",
                    len(early),
                    self.max_bytes,
                )
            return bool(oldest)
        if self.days is None:
            return False
        before = now_us() - self.days * DAY_US
        due = [sequence for sequence, at_us in oldest if at_us < before and sequence not in unfolded]
        file.remove(due, AGE)
        return len(due) == SLICE_ROWS
