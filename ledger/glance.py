"""Questions that a process asks the control file several times a second: one row, over a connection that is kept.

The answers are marks: as long as a mark stays the same, so does everything that is read after it changed.
"""

import sqlite3
from pathlib import Path
from typing import Any

from ledger.control_file import BUSY_SECONDS, control_path

# Stage changes and students are only ever appended. Nobody is told of a heartbeat but those who watch it.
STAGES_MARK = "SELECT (SELECT max(id) FROM stage_change), (SELECT count(*) FROM student)"
STAGES_AND_BEATS_MARK = f"{STAGES_MARK}, (SELECT group_concat(at_us) FROM heartbeat WHERE process IN (?, ?))"
ROLLOUT_MARK = (
    f"{STAGES_MARK}, (SELECT max(id) FROM alarm),"
    " (SELECT group_concat(id || '@' || expected_revision) FROM proposal WHERE decision IS NULL)"
)
ERASURES_MARK = "SELECT group_concat(token || step) FROM erasure WHERE step != 'done'"
AUDIT_MARK = "SELECT max(number) FROM audit"
OPEN_JOBS = "SELECT count(*) FROM job WHERE status IN ('waiting', 'running')"

Mark = tuple[Any, ...]


class Glance:
    """Used by one thread at a time."""

    def __init__(self, data_directory: Path) -> None:
        self._path = control_path(data_directory)
        self._connection: sqlite3.Connection | None = None

    def ask(self, question: str, *parameters: str) -> Mark:
        """The first row of the answer. Raises sqlite3.Error; the next call then opens the file anew."""
        try:
            row: Mark = self._opened().execute(question, parameters).fetchone()
            return row
        except sqlite3.Error:
            self.close()
            raise

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = sqlite3.connect(
                f"file:{self._path}?mode=ro", uri=True, timeout=BUSY_SECONDS, check_same_thread=False
            )
        return self._connection
