"""The exchange file and the tally of one gateway, opened together: blocks of earlier runs are settled first."""

import fcntl
import logging
import sqlite3
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from io import TextIOWrapper
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from gateway.durability import DURABLE, Durability
from gateway.salvage import Salvaged, is_broken, salvage, set_aside
from ledger.clock import now_us
from ledger.exchange import Answer, Exchange
from ledger.exchange_file import BLOCK_SIZE, Accounts, ExchangeFile, exchange_path
from ledger.schema import SchemaTooNew
from ledger.tally import Drop, Tally

# what a broken, locked or full disk raises; all may pass by themselves
STORE_ERRORS = (OSError, sqlite3.Error, SQLAlchemyError)
CHECKED_BYTES = 64 * 2**20  # after a crash, a file up to this size is looked through before it is used

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
    durability: Durability


def open_store(data_directory: Path, gateway: str, durability: Durability = DURABLE) -> Store:
    """Settle earlier runs and open a block. Raises StoreTaken, SchemaTooNew, or one of STORE_ERRORS."""
    path = exchange_path(data_directory, gateway)
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = _lock(path.with_suffix(".lock"))
    try:
        tally = _open_tally(path.with_suffix(".tally"))
        file = _open_or_salvage(path, tally, durability)
        for block in file.open_blocks():
            _settle(file, tally, block)
        _account_for_missing(file, tally)
        before = file.accounts()
        block = file.open_block(least=tally.block_first + BLOCK_SIZE if tally.started else 0)
        tally.begin(block, before.requests)
    except (*STORE_ERRORS, SchemaTooNew):
        lock.close()
        raise
    return Store(path, file, tally, block, before, lock, durability)


def append(file: ExchangeFile, exchanges: Sequence[Exchange], answers: Sequence[Answer]) -> set[int]:
    """Write a group and return the numbers of exchanges that the file refused. Raises one of STORE_ERRORS.

    A row that the file refuses for its own sake costs nobody else his: the group is then written row by row.
    """
    try:
        file.append(exchanges, answers)
        return set()
    except (*_REFUSALS, sqlite3.IntegrityError):
        refused = {exchange.sequence for exchange in exchanges if not _rewrite(file, exchange)}
        for answer in answers:
            with suppress(*_REFUSALS):
                file.append([], [answer])
        return refused


_REFUSALS = (
    ValueError,
    TypeError,
    OverflowError,
    sqlite3.InterfaceError,
    sqlite3.ProgrammingError,
    sqlite3.DataError,
)


def _rewrite(file: ExchangeFile, exchange: Exchange) -> bool:
    """Also when it is there already: an earlier try reached the file although it was reported as failed."""
    try:
        file.rewrite(exchange)
    except _REFUSALS as error:
        log.error("Exchange %d cannot be written: %s. action=row_refused", exchange.sequence, error)
        return False
    return True


def reopen_file(store: Store) -> Store:
    """The same store over a fresh connection: after an I/O error the old one cannot be trusted."""
    with suppress(sqlite3.Error):
        store.file.close()
    return replace(store, file=ExchangeFile(store.path, store.durability.synchronous))


def replace_broken(store: Store, recorded: int) -> tuple[Store, int]:
    """The same run over a fresh file, and how many of the `recorded` exchanges, earlier runs' included, are lost."""
    with suppress(sqlite3.Error):
        store.file.close()
    aside = set_aside(store.path)
    file = ExchangeFile(store.path, store.durability.synchronous)
    salvaged = salvage(aside, file)
    if store.before.requests:
        _write_closed_block(file, store.block - BLOCK_SIZE, store.before.requests, store.before.dropped)
    file.open_block(least=store.block)
    lost = max(0, recorded - file.accounts().recorded)
    _say_salvaged(salvaged, store.path, lost)
    return replace(store, file=file), lost


def close_store(store: Store, settle: bool) -> None:
    """Close the block with what the tally says, unless that is left to the next start."""
    try:
        if settle:
            store.file.close_block(store.block, store.tally.started, store.tally.dropped)
        store.file.close()
    finally:
        store.tally.close()
        store.lock.close()


def _open_or_salvage(path: Path, tally: Tally, durability: Durability) -> ExchangeFile:
    try:
        file = ExchangeFile(path, durability.synchronous)
        unclean = bool(file.open_blocks()) and path.stat().st_size <= CHECKED_BYTES
        problem = file.problem() if unclean else None
        if problem is None:
            return file
        log.error("%s is broken: %s. action=store_broken", path, problem)
        file.close()
    except STORE_ERRORS as error:
        if not is_broken(error):
            raise
        log.error("%s is broken: %s. action=store_broken", path, error)
    aside = set_aside(path)
    file = ExchangeFile(path, durability.synchronous)
    salvaged = salvage(aside, file)
    losses = Counter(tally.dropped) + Counter(salvaged.losses)
    recorded = file.accounts().recorded
    missing = max(0, tally.earlier_requests + tally.started - recorded - losses.total())
    losses[Drop.CORRUPT] += missing
    _write_closed_block(file, salvaged.last_block, recorded + losses.total(), losses)
    _say_salvaged(salvaged, path, missing)
    return file


def _write_closed_block(file: ExchangeFile, first: int, started: int, losses: Mapping[str, int]) -> None:
    """One block that stands for all earlier ones."""
    with file.transaction() as connection:
        connection.execute(
            "INSERT INTO sequence_block (first, opened_at_us, closed_at_us, started) VALUES (?, ?, ?, ?)",
            (first, now_us(), now_us(), started),
        )
        connection.executemany(
            "INSERT INTO loss (block_first, reason, count) VALUES (?, ?, ?)",
            [(first, str(reason), count) for reason, count in losses.items() if count],
        )


def _say_salvaged(salvaged: Salvaged, path: Path, lost: int) -> None:
    log.error(
        "%d exchanges were saved from the broken file into %s, %d were lost and count as dropped{corrupt}."
        " The broken file is kept as %s; remove it when you no longer need it. action=store_salvaged",
        salvaged.exchanges,
        path,
        lost,
        salvaged.set_aside,
    )


def _settle(file: ExchangeFile, tally: Tally, block: int) -> None:
    """Close the block of a killed run, so that what it did not write becomes dropped{crash}."""
    if tally.block_first == block and tally.started:
        file.close_block(block, tally.started, tally.dropped)
        return
    highest = file.highest_sequence(block)  # the tally is gone: all that is known is what was written
    started = 0 if highest is None else highest + 1 - block
    no_drops: Mapping[str, int] = {}
    file.close_block(block, started, no_drops)


def _account_for_missing(file: ExchangeFile, tally: Tally) -> None:
    """An exchange file that was removed, or put back from an older copy, lacks requests that were counted."""
    known, told = tally.earlier_requests + tally.started, file.accounts().requests
    if known <= told:
        return
    log.error(
        "%s tells of %d requests, %d were counted: the rest is dropped{corrupt}. action=store_incomplete",
        file.path,
        told,
        known,
    )
    block = file.open_block(least=tally.block_first)
    file.close_block(block, known - told, {Drop.CORRUPT: known - told})


def _open_tally(path: Path) -> Tally:
    tally = Tally(path)
    if not _is_plausible(tally):
        log.error("%s holds impossible counts and begins anew. action=tally_broken", path)
        tally.begin(0)
    return tally


def _is_plausible(tally: Tally) -> bool:
    """A flipped bit mostly makes a count that no block can have; one that makes a possible count is not noticed."""
    aligned = tally.block_first % BLOCK_SIZE == 0 and tally.block_first < 2**62
    counts = max(tally.started, *tally.dropped.values()) <= BLOCK_SIZE
    return aligned and counts and tally.earlier_requests < 2**40


def _lock(path: Path) -> TextIOWrapper:
    lock = path.open("a")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise StoreTaken(path) from None
    return lock
