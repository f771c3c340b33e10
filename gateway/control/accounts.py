"""What every gateway owes: requests = recorded + dropped + pending, read from its files."""

import logging
import sqlite3
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ledger.exchange_file import accounts_of, exchange_paths, reading
from ledger.tally import read_tally

logger = logging.getLogger(__name__)

LEAST_AGE_SECONDS = 1.0
COST_FACTOR = 20  # counting rows takes at most a twentieth of one core, however long the file gets


@dataclass(frozen=True, slots=True)
class GatewayAccounts:
    """Totals over the whole life of one gateway's exchange file."""

    gateway: str
    requests: int
    recorded: int
    dropped: Mapping[str, int]

    @property
    def pending(self) -> int:
        """In flight or in a queue now; after a crash, until the gateway's next start, also what it lost."""
        return self.requests - self.recorded - sum(self.dropped.values())


class AccountsReader:
    """Reads every gateway's accounts, and keeps them for a while: counting rows gets dearer with them."""

    def __init__(self, data_directory: Path) -> None:
        self._data_directory = data_directory
        self._lock = threading.Lock()
        self._accounts: tuple[GatewayAccounts, ...] = ()
        self._stale_after = 0.0  # time.monotonic

    def read(self) -> tuple[GatewayAccounts, ...]:
        with self._lock:
            started = time.monotonic()
            if started >= self._stale_after:
                self._accounts = read_accounts(self._data_directory)
                now = time.monotonic()
                self._stale_after = now + max(LEAST_AGE_SECONDS, COST_FACTOR * (now - started))
            return self._accounts


def read_accounts(data_directory: Path) -> tuple[GatewayAccounts, ...]:
    """Accounts of every gateway whose file can be read now."""
    found = []
    for path in exchange_paths(data_directory):
        try:
            found.append(_accounts_of(path))
        except sqlite3.Error as error:
            logger.warning("%s cannot be read: %s action=accounts_unread", path, error)
    return tuple(found)


def _accounts_of(path: Path) -> GatewayAccounts:
    with reading(path) as connection:
        closed = accounts_of(connection)
        open_blocks = connection.execute(
            "SELECT first FROM sequence_block WHERE closed_at_us IS NULL"
        ).fetchall()
    dropped = dict(closed.dropped)
    # the tally is read after the rows, so that a request between the two is pending and never negative
    started, losses = _running_block(path.with_suffix(".tally"), {first for (first,) in open_blocks})
    for reason, count in losses.items():
        if count:
            dropped[reason] = dropped.get(reason, 0) + count
    requests = max(closed.requests + started, closed.recorded)
    return GatewayAccounts(path.stem, requests, closed.recorded, dropped)


def _running_block(path: Path, open_blocks: set[int]) -> tuple[int, Mapping[str, int]]:
    """Started and dropped requests of the block that is being counted; nothing if its tally is gone."""
    tally = read_tally(path)
    if tally is None or tally.block_first not in open_blocks:
        return 0, {}
    return tally.started, tally.dropped
