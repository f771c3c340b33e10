"""Looking at an exchange file that nobody has open."""

import sqlite3
from contextlib import closing
from pathlib import Path


def integrity_of(path: Path) -> str:
    """SQLite's own verdict on the file with its log: `ok`, or what is broken."""
    with closing(sqlite3.connect(path)) as connection:
        return str(connection.execute("PRAGMA integrity_check").fetchone()[0])
