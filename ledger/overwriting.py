"""Erases exchanges in one exchange file: what identifies is overwritten where it stands, with as many bytes.

Rows stay, with their numbers, so that all accounts and sums hold. They are not removed, because SQLite moves rows
together when their neighbours go, and leaves stale copies between them that `secure_delete` does not reach.
"""

import secrets
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import orjson

from ledger.clock import now_us
from ledger.erasures import Erasure
from ledger.exchange import parse_exchange_id
from ledger.exchange_file import ExchangeFile, Row, reading
from ledger.subjects import PSEUDONYM_BYTES

ERASED = "erased"
ERASED_SUBJECT = ERASED.ljust(2 * PSEUDONYM_BYTES, "-")
SLICE_ROWS = 100  # overwritten in one transaction

_COLUMNS = "sequence, started_at_us, subject, attributes, inputs, input_digests"
_OF_SUBJECT = (
    f"SELECT {_COLUMNS} FROM exchange WHERE subject = ? AND task = ? AND started_at_us <= ?"
    " ORDER BY sequence LIMIT ?"
)
# what holds nothing of a caller (any more) is not erased once more
_OF_NUMBERS = (
    f"SELECT {_COLUMNS} FROM exchange WHERE sequence IN (SELECT value FROM json_each(?)) AND task = ?"
    f" AND started_at_us <= ? AND (input_digests NOT LIKE '[\"{ERASED}%' AND input_digests != '[]'"
    f" OR rtrim(attributes) != '{{}}' OR subject != '{ERASED_SUBJECT}') ORDER BY sequence LIMIT ?"
)


@dataclass(frozen=True, slots=True)
class Report:
    """What one exchange file says of one erasure."""

    exchanges: int  # overwritten so far
    has_ended: bool
    is_cleared: bool  # it keeps no digests of it: not any more, or never did


@dataclass(frozen=True, slots=True)
class ErasedInput:
    """One text that was erased."""

    digest: str
    started_at_us: int  # of its first erased exchange


def count_due(path: Path, erasure: Erasure) -> int:
    """How many exchanges of a file the erasure would overwrite now. Raises sqlite3.Error."""
    with reading(path) as connection:
        query, parameters = _due(path, erasure, -1)
        (count,) = connection.execute(f"SELECT count(*) FROM ({query})", parameters).fetchone()
        return int(count)


def overwrite_slice(file: ExchangeFile, erasure: Erasure) -> bool:
    """Overwrite the next exchanges; False if there was none."""
    rows = file.ask(*_due(file.path, erasure, SLICE_ROWS))
    if not rows:
        return False
    with file.transaction() as connection:
        connection.executemany(
            "UPDATE exchange SET subject = ?, attributes = ?, inputs = ?, input_digests = ? WHERE sequence = ?",
            [(*_overwritten(subject, *texts), sequence) for sequence, _, subject, *texts in rows],
        )
        connection.executemany(
            "INSERT INTO erased_exchange (token, started_at_us, input_digests) VALUES (?, ?, ?)",
            [(erasure.token, started, digests) for _, started, *_, digests in rows],
        )
        connection.execute(
            "INSERT INTO erasure_report (token, exchanges) VALUES (?, ?)"
            " ON CONFLICT DO UPDATE SET exchanges = exchanges + excluded.exchanges",
            (erasure.token, len(rows)),
        )
    return True


def end_erasure(file: ExchangeFile, token: str) -> None:
    """State that nothing of it is left."""
    with file.transaction() as connection:
        connection.execute(
            "INSERT INTO erasure_report (token, exchanges, ended_at_us) VALUES (?, 0, ?)"
            " ON CONFLICT DO UPDATE SET ended_at_us = excluded.ended_at_us",
            (token, now_us()),
        )


def has_ended(file: ExchangeFile, token: str) -> bool:
    query = "SELECT 1 FROM erasure_report WHERE token = ? AND ended_at_us IS NOT NULL"
    return bool(file.ask(query, (token,)))


def uncleared(file: ExchangeFile) -> set[str]:
    """Tokens of the erasures that have ended here, and whose texts' digests are still kept."""
    query = "SELECT token FROM erasure_report WHERE ended_at_us IS NOT NULL AND cleared_at_us IS NULL"
    return {token for (token,) in file.ask(query)}


def clear(file: ExchangeFile, token: str) -> bool:
    """Forget the digests; False if a reader kept them in the write-ahead log: to be tried again."""
    with file.transaction() as connection:
        blank = "UPDATE erased_exchange SET input_digests = printf('%*s', length(input_digests), '') WHERE token = ?"
        connection.execute(blank, (token,))
        connection.execute("DELETE FROM erased_exchange WHERE token = ?", (token,))
    if not file.empty_log():
        return False
    with file.transaction() as connection:
        connection.execute("UPDATE erasure_report SET cleared_at_us = ? WHERE token = ?", (now_us(), token))
    return True


def report_of(path: Path, token: str) -> Report:
    """Of a file of an earlier schema, or that is new: nothing has begun. Raises sqlite3.Error."""
    nothing = 0, None, now_us()
    with reading(path) as connection:
        if not connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'erasure_report'").fetchone():
            return _report(nothing)
        query = "SELECT exchanges, ended_at_us, cleared_at_us FROM erasure_report WHERE token = ?"
        return _report(connection.execute(query, (token,)).fetchone() or nothing)


def _report(row: Row) -> Report:
    exchanges, ended_at_us, cleared_at_us = row
    return Report(exchanges, ended_at_us is not None, cleared_at_us is not None)


def erased_inputs(paths: Iterable[Path], token: str) -> list[ErasedInput]:
    """Every text of the erasure, once."""
    first: dict[str, int] = {}
    for path in paths:
        with reading(path) as connection:
            query = "SELECT started_at_us, input_digests FROM erased_exchange WHERE token = ?"
            for started_at_us, digests in connection.execute(query, (token,)):
                for digest in orjson.loads(digests):
                    first[digest] = min(started_at_us, first.get(digest, started_at_us))
    return [ErasedInput(digest, started_at_us) for digest, started_at_us in first.items()]


def unerased(connection: sqlite3.Connection, sequences: Iterable[int]) -> set[int]:
    """Those of these exchanges that are in the file, with what they said."""
    query = (
        "SELECT sequence FROM exchange WHERE sequence IN (SELECT value FROM json_each(?))"
        f" AND input_digests NOT LIKE '[\"{ERASED}%'"
    )
    asked = orjson.dumps(list(sequences)).decode()
    return {sequence for (sequence,) in connection.execute(query, (asked,))}


def digests_in_record(paths: Iterable[Path], task: str, digests: Iterable[str]) -> set[str]:
    """Those of these texts that somebody else's exchanges hold. Reads every exchange of the task."""
    asked, found = orjson.dumps(list(digests)).decode(), set[str]()
    query = (
        "SELECT DISTINCT d.value FROM exchange e, json_each(e.input_digests) d"
        " WHERE e.task = ? AND d.value IN (SELECT value FROM json_each(?))"
    )
    for path in paths:
        with reading(path) as connection, closing(connection.execute(query, (task, asked))) as rows:
            found |= {digest for (digest,) in rows}
    return found


def _due(path: Path, erasure: Erasure, limit: int) -> tuple[str, Row]:
    """The question for the next exchanges, with its parameters; a limit of -1 is none."""
    if erasure.subject is not None:
        return _OF_SUBJECT, (erasure.subject, erasure.task, erasure.before_us, limit)
    parsed = map(parse_exchange_id, erasure.exchange_ids)
    numbers = [found[1] for found in parsed if found is not None and found[0] == path.stem]
    return _OF_NUMBERS, (orjson.dumps(numbers).decode(), erasure.task, erasure.before_us, limit)


def _overwritten(subject: str | None, attributes: str, inputs: str, digests: str) -> Row:
    """The same columns without what they said: JSON of the same form and exactly the same size in bytes."""
    return (
        None if subject is None else ERASED_SUBJECT,
        _padded("{}", attributes),
        _padded(orjson.dumps([""] * len(orjson.loads(inputs))).decode(), inputs),
        orjson.dumps([_meaningless(digest) for digest in orjson.loads(digests)]).decode(),
    )


def _padded(document: str, old: str) -> str:
    return document.ljust(len(old.encode()))


def _meaningless(digest: str) -> str:
    """Never twice, since texts that are alike count as one."""
    return (ERASED + secrets.token_hex(len(digest)))[: len(digest)]
