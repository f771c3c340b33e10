"""What a job did, line by line: `journal.jsonl` in its folder, for programs; people read `stillgate distill show`.

Written by the job's process alone. A killed process may leave half a line, which the next one closes and readers
leave out.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from ledger.clock import now_us

JOURNAL_FILE = "journal.jsonl"


class Journal:
    """Appends lines to the journal of one job."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / JOURNAL_FILE
        if self._path.exists() and not self._path.read_bytes().endswith(b"\n"):
            self._append(b"\n")

    def write(self, what: str, **details: Any) -> None:
        """One line: when, what, and its details."""
        line = {"at_us": now_us(), "what": what, **details}
        self._append(orjson.dumps(line, option=orjson.OPT_SERIALIZE_NUMPY) + b"\n")

    def _append(self, content: bytes) -> None:
        with self._path.open("ab") as file:
            file.write(content)


def read_journal(folder: Path) -> Iterator[dict[str, Any]]:
    """Every whole line; nothing where there is no journal."""
    path = folder / JOURNAL_FILE
    if not path.exists():
        return
    for line in path.read_bytes().splitlines():
        try:
            yield orjson.loads(line)
        except json.JSONDecodeError:
            continue  # half a line of a killed process
