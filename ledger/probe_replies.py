"""What the teacher said to probes: rows in the exchange file of the gateway that asked, in order of arrival."""

import sqlite3
from collections.abc import Sequence
from typing import NamedTuple

from ledger.exchange_file import ExchangeFile, observations_json, read_observations
from ledger.observation import Observation
from ledger.tables import ProbeReplyRow

KEPT_REPLIES = 20_000  # of one exchange file; the monitor has read older ones long ago
_table = ProbeReplyRow.__table__  # type: ignore[attr-defined]  # SQLModel does not type it
PROBE_REPLY_NAMES = tuple(column.name for column in _table.columns)
_COLUMNS = ", ".join(PROBE_REPLY_NAMES[1:])


class ProbeReply(NamedTuple):
    """One reply, or why there was none."""

    task: str
    probe_set: str  # ledger.probe_set.ProbeSet.name
    probe: int  # its number in the set
    pass_at_us: int  # when the pass through the set began: names the pass
    asked_at_us: int
    latency_us: int
    version: str | None  # of the teacher, as its reply's header tells
    fingerprint: str | None
    failure: str | None  # why there are no observations
    observations: tuple[Observation, ...]


def append_replies(file: ExchangeFile, replies: Sequence[ProbeReply]) -> None:
    """Write them in one transaction, and let go of what is older than is kept. Raises sqlite3.Error."""
    rows = [(*reply[:-1], observations_json(reply.observations)) for reply in replies]
    with file.transaction() as connection:
        connection.executemany(
            f"INSERT INTO probe_reply ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows
        )
        connection.execute(
            "DELETE FROM probe_reply WHERE number <= (SELECT max(number) FROM probe_reply) - ?",
            (KEPT_REPLIES,),
        )


def replies_after(connection: sqlite3.Connection, number: int, limit: int) -> list[tuple[int, ProbeReply]]:
    """The next ones in order of arrival, each with its number; none in a file of an earlier schema."""
    if not _has_table(connection):
        return []
    query = f"SELECT number, {_COLUMNS} FROM probe_reply WHERE number > ? ORDER BY number LIMIT ?"
    return [(row[0], read_reply(row)) for row in connection.execute(query, (number, limit))]


def last_pass(
    connection: sqlite3.Connection, task: str, probe_set: str
) -> tuple[int, frozenset[int], int] | None:
    """The newest pass through a set: when it began, which probes it has asked, and when it asked the last one."""
    query = (
        "SELECT pass_at_us, probe, asked_at_us FROM probe_reply WHERE task = ? AND probe_set = ? AND pass_at_us ="
        " (SELECT pass_at_us FROM probe_reply WHERE task = ? AND probe_set = ? ORDER BY number DESC LIMIT 1)"
    )
    found = connection.execute(query, (task, probe_set) * 2).fetchall() if _has_table(connection) else []
    if not found:
        return None
    return found[0][0], frozenset(probe for _, probe, _ in found), max(asked for *_, asked in found)


def read_reply(row: tuple[object, ...]) -> ProbeReply:
    """The columns of ProbeReplyRow, in order."""
    _, *plain, observations = row
    return ProbeReply._make([*plain, read_observations(str(observations))])


def _has_table(connection: sqlite3.Connection) -> bool:
    return connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'probe_reply'").fetchone() is not None
