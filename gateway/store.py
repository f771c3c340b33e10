"""The exchange file and the tally of one gateway, opened together: blocks of earlier runs are settled first."""

import fcntl
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path

from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from ledger.exchange import Answer, Exchange
from ledger.exchange_file import Accounts, ExchangeFile, exchange_path
from ledger.schema import SchemaTooNew
from ledger.tally import Tally

STORE_ERRORS = (
    OSError,
    SQLAlchemyError,
)  # what a broken, locked or full disk raises; all may pass by themselves

log = logging.getLogger(__name__)


class StoreTaken(Exception):
    """Another gateway of the same name writes here."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"{path} is locked: another gateway of this name runs on this data directory."
            " Stop it, or give this one another gateway.name."
        )


@dataclass(frozen=True, slots=True)
class Store:
    """What the recorder writes to. `before` is the account of every earlier run."""

    path: Path
    file: ExchangeFile
    tally: Tally
    block: int  # first sequence number of this run
    before: Accounts
    lock: TextIOWrapper


def open_store(data_directory: Path, gateway: str) -> Store:
    """Settle earlier runs and open a block. Raises StoreTaken, SchemaTooNew, or one of STORE_ERRORS."""
    path = exchange_path(data_directory, gateway)
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = _lock(path.with_suffix(".lock"))
    try:
        file = ExchangeFile(path)
        tally = Tally(path.with_suffix(".tally"))
        for block in file.open_blocks():
            _settle(file, tally, block)
        before = file.accounts()
        block = file.open_block()
        tally.begin(block)
    except (*STORE_ERRORS, SchemaTooNew):
        lock.close()
        raise
    return Store(path, file, tally, block, before, lock)


def append(file: ExchangeFile, exchanges: Sequence[Exchange], answers: Sequence[Answer]) -> int:
    """Write a group and return how many of its exchanges are in the file. Raises one of STORE_ERRORS.

    A row that the file refuses for its own sake costs nobody else his: the group is then written row by row.
    """
    try:
        file.append(exchanges, answers)
        return len(exchanges)
    except (IntegrityError, ValueError, TypeError, OverflowError):
        written = sum(_append_one(file, [exchange], []) for exchange in exchanges)
        for answer in answers:
            _append_one(file, [], [answer])
        return written


def _append_one(file: ExchangeFile, exchanges: Sequence[Exchange], answers: Sequence[Answer]) -> bool:
    try:
        file.append(exchanges, answers)
    except IntegrityError:
        return True  # an earlier try had reached the disk although it was reported as failed
    except (ValueError, TypeError, OverflowError) as error:
        log.exception("A row cannot be written: %s. action=row_refused", error)
        return False
    return True


def reopen_file(store: Store) -> Store:
    """The same store over a fresh connection: after an I/O error the old one cannot be trusted."""
    with suppress(SQLAlchemyError):
        store.file.close()
    file = ExchangeFile(store.path)
    return Store(store.path, file, store.tally, store.block, store.before, store.lock)


def close_store(store: Store, settle: bool) -> None:
    """Close the block with what the tally says, unless that is left to the next start."""
    try:
        if settle:
            store.file.close_block(store.block, store.tally.started, store.tally.dropped)
        store.file.close()
    finally:
        store.tally.close()
        store.lock.close()


def _settle(file: ExchangeFile, tally: Tally, block: int) -> None:
    """Close the block of a killed run, so that what it did not write becomes dropped{crash}."""
    if tally.block_first == block and tally.started:
        file.close_block(block, tally.started, tally.dropped)
        return
    highest = file.highest_sequence(block)  # the tally is gone: all that is known is what was written
    started = 0 if highest is None else highest + 1 - block
    no_drops: Mapping[str, int] = {}
    file.close_block(block, started, no_drops)


def _lock(path: Path) -> TextIOWrapper:
    lock = path.open("a")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise StoreTaken(path) from None
    return lock
