"""A broken exchange file: it is set aside under a new name, and what can still be read goes into a fresh one.

SQLite has no checksums, so that a flipped bit inside a text passes for the text unless it breaks its JSON.
"""

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from sqlalchemy.exc import DBAPIError

from gateway.ballast import primary_code
from ledger.clock import now_us
from ledger.exchange_file import ANSWER_NAMES, EXCHANGE_NAMES, ExchangeFile, read_answer, read_exchange
from ledger.probe_replies import PROBE_REPLY_NAMES, read_reply

ROWS_A_TRANSACTION = 1000
_BROKEN = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_UNREADABLE = (ValueError, TypeError, KeyError, IndexError, AttributeError)  # what a row of rubbish raises

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Salvaged:
    """What came out of a broken file, beside its rows."""

    set_aside: Path
    exchanges: int
    losses: dict[str, int]  # that it told of, as far as they could be read
    last_block: int  # the highest that it told of, or that its rows belong to


def is_broken(error: BaseException) -> bool:
    """Whether SQLite says that this is no database, or no whole one."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    return isinstance(cause, sqlite3.Error) and primary_code(cause) in _BROKEN


def set_aside(path: Path) -> Path:
    """Rename the file, and what belongs to it, to a name that nobody reads."""
    aside = path.with_name(f"{path.name}.broken-{now_us()}")
    for suffix in ("", "-wal", "-shm"):
        with suppress(FileNotFoundError):
            Path(f"{path}{suffix}").rename(f"{aside}{suffix}")
    return aside


def salvage(aside: Path, into: ExchangeFile) -> Salvaged:
    """Copy every readable row: from the front up to the first broken page, then from the back up to the last."""
    with closing(sqlite3.connect(aside, isolation_level=None)) as broken:
        broken.execute("PRAGMA writable_schema = ON")  # lets SQLite read a file shorter than it says it is
        exchanges = _copy(broken, into, "exchange", EXCHANGE_NAMES, "sequence", read_exchange)
        _copy(broken, into, "answer", ANSWER_NAMES, "number", read_answer)
        _copy(broken, into, "probe_reply", PROBE_REPLY_NAMES, "number", read_reply)
        losses, removals, blocks, reports, erased = (_all(broken, query) for query in _TELLING)
        with into.transaction() as connection:
            connection.executemany(
                "INSERT INTO removal (block_first, reason, count) VALUES (?, ?, ?)", removals
            )
            connection.executemany("INSERT INTO erasure_report VALUES (?, ?, ?, ?)", reports)
            connection.executemany("INSERT INTO erased_exchange VALUES (?, ?, ?, ?)", erased)
            (highest,) = connection.execute("SELECT max(sequence) FROM exchange").fetchone()
    last = max([first for (first,) in blocks] + [(highest or 0) >> 32 << 32])
    return Salvaged(aside, exchanges, dict(losses), last)


_TELLING = (
    "SELECT reason, sum(count) FROM loss GROUP BY reason",
    "SELECT block_first, reason, count FROM removal",
    "SELECT first FROM sequence_block",
    "SELECT token, exchanges, ended_at_us, cleared_at_us FROM erasure_report",
    "SELECT number, token, started_at_us, input_digests FROM erased_exchange",
)


def _copy(
    broken: sqlite3.Connection, into: ExchangeFile, table: str, names: tuple[str, ...], key: str, read: Any
) -> int:
    present = {row[1] for row in _all(broken, f"PRAGMA table_info({table})")}
    columns = [name if name in present or not present else f"NULL AS {name}" for name in names]
    marks = ", ".join("?" * len(names))
    statement = f"INSERT OR IGNORE INTO {table} ({', '.join(names)}) VALUES ({marks})"
    copied = 0
    for direction in ("ASC", "DESC"):
        rows = _readable(broken, f"SELECT {', '.join(columns)} FROM {table} ORDER BY {key} {direction}", read)
        while chunk := list(islice(rows, ROWS_A_TRANSACTION)):
            with into.transaction() as connection:
                new = connection.executemany(statement, chunk).rowcount
            copied += new
            if direction == "DESC" and new == 0:
                break  # these were all copied from the front
    return copied


def _readable(broken: sqlite3.Connection, query: str, read: Any) -> Iterator[tuple[Any, ...]]:
    """Rows until the first page that cannot be read, without those that hold rubbish."""
    try:
        for row in broken.execute(query):
            with suppress(*_UNREADABLE):
                read(row)
                yield row
    except (sqlite3.Error, *_UNREADABLE) as error:  # text that is no UTF-8 is an OperationalError
        log.warning("Reading a broken exchange file ended early: %s. action=salvage_cut", error)


def _all(broken: sqlite3.Connection, query: str) -> list[tuple[Any, ...]]:
    try:
        return broken.execute(query).fetchall()
    except sqlite3.Error:
        return []
