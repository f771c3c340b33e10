"""Takes a file back to the schema of an earlier release: what undoes each migration, and nothing else."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

WITHOUT_HARMS = """
CREATE TABLE detector_now (
    task VARCHAR NOT NULL, artifact VARCHAR NOT NULL, slice VARCHAR NOT NULL, state JSON NOT NULL,
    PRIMARY KEY (task, artifact, slice));
INSERT INTO detector_now SELECT task, artifact, slice, state FROM detector;
DROP TABLE detector;
ALTER TABLE detector_now RENAME TO detector;
DROP TABLE label_watch;
"""

CONTROL = (  # the first one leads from version 2 to version 1
    "DROP TABLE erasure; DROP TABLE erased_rows",
    "DROP TABLE slice_rule",
    "DROP TABLE certified_slice",
    "DROP TABLE probe_watch; DROP TABLE teacher_change",
    "ALTER TABLE alarm DROP COLUMN cause",
    "ALTER TABLE label DROP COLUMN probability",
    WITHOUT_HARMS,
    "ALTER TABLE alarm DROP COLUMN harm",
    "ALTER TABLE job DROP COLUMN conclusion",
    "ALTER TABLE student DROP COLUMN quantized_from",
)

EXCHANGES = (
    "ALTER TABLE answer DROP COLUMN inclusion",
    "DROP TABLE removal",
    "DROP INDEX exchange_of_subject; ALTER TABLE exchange DROP COLUMN subject",
    "DROP TABLE erasure_report; DROP TABLE erased_exchange",
    "DROP TABLE probe_reply",
    "ALTER TABLE answer DROP COLUMN spots",
)


def take_back(path: Path, steps: Sequence[str], version: int) -> None:
    """Undo the last steps, down to a schema version. Nobody may have the file open."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for step in reversed(steps[version - 1 :]):
            connection.executescript(step)
        connection.execute(f"PRAGMA user_version = {version}")
