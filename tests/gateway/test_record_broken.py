"""Exchange files that were cut, flipped or lost: what can be read is kept, and what is lost is counted."""

import logging
import os
import random
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from gateway.record import Recorder, RecorderLimits
from gateway.routes import Routes
from gateway.salvage import salvage
from gateway.salvage import set_aside as set_aside_file
from gateway.store import Store, append, close_store, open_store
from ledger.erasures import Erasure, Step
from ledger.exchange_file import Accounts, ExchangeFile, exchange_at, exchange_path, reading
from ledger.overwriting import end_erasure, erased_inputs, overwrite_slice, report_of
from ledger.tally import Drop
from tests.gateway.recording import begin_and_put, routes_in, settled
from tests.gateway.running import read_exchanges, wait_until
from tests.ledger.builders import build_answer, build_exchange

CASES = int(os.environ.get("STILLGATE_TORN_CASES", "8"))  # random places of damage, each with its own seed
STARTED, WRITTEN = 620, 600

Damage = Callable[[Path, random.Random], None]


def cut(path: Path, chance: random.Random) -> None:
    os.truncate(path, chance.randrange(path.stat().st_size))


def flip(path: Path, chance: random.Random) -> None:
    with path.open("r+b") as file:
        for _ in range(8):
            at = chance.randrange(path.stat().st_size)
            file.seek(at)
            (byte,) = file.read(1)
            file.seek(at)
            file.write(bytes([byte ^ (1 << chance.randrange(8))]))


def write_killed_run(directory: Path, checkpointed: bool) -> None:
    """A run that began 620 requests, wrote 600 of them and was killed."""
    store = open_store(directory, "g0")
    for _ in range(STARTED):
        store.tally.start_request()
    for first in range(0, WRITTEN, 50):
        exchanges = [build_exchange(sequence) for sequence in range(first, first + 50)]
        assert (
            append(store.file, exchanges, [build_answer(exchange.sequence) for exchange in exchanges])
            == set()
        )
    if checkpointed:
        store.file.checkpoint()
    kept = directory / "kept"
    shutil.copytree(directory / "exchanges", kept)  # as the disk is when the process is killed here
    close_store(store, settle=False)
    shutil.rmtree(directory / "exchanges")
    kept.rename(directory / "exchanges")


def set_aside(directory: Path) -> list[Path]:
    return [
        path for path in (directory / "exchanges").glob("g0.sqlite.broken-*") if path.suffix[-1].isdigit()
    ]


def reopened(directory: Path) -> tuple[Store, Accounts]:
    store = open_store(directory, "g0")
    accounts = store.before
    assert accounts.requests == accounts.recorded + sum(accounts.dropped.values())
    with reading(exchange_path(directory, "g0")) as connection:
        assert connection.execute("SELECT count(*) FROM exchange").fetchone() == (accounts.recorded,)
    return store, accounts


@pytest.mark.parametrize("damage", [cut, flip])
@pytest.mark.parametrize("seed", range(CASES))
def test_damaged_file(tmp_path: Path, damage: Damage, seed: int, caplog: pytest.LogCaptureFixture) -> None:
    """A valid part is kept, every request stays accounted for, and the broken file lies beside under a new name."""
    write_killed_run(tmp_path, checkpointed=True)
    path = exchange_path(tmp_path, "g0")
    damage(path, random.Random(seed))
    store, accounts = reopened(tmp_path)
    assert accounts.requests == STARTED
    assert append(store.file, [build_exchange(store.block)], []) == set()
    close_store(store, settle=False)
    aside = set_aside(tmp_path)
    if aside:
        assert "action=store_salvaged" in caplog.text
        assert str(aside[0]) in caplog.text
    else:
        assert accounts.recorded == WRITTEN


@pytest.mark.parametrize("seed", range(CASES))
def test_torn_log(tmp_path: Path, seed: int) -> None:
    """A write-ahead log cut anywhere: whole groups up to there are in the file, in order, the rest is lost."""
    write_killed_run(tmp_path, checkpointed=False)
    cut(Path(f"{exchange_path(tmp_path, 'g0')}-wal"), random.Random(seed))
    store, accounts = reopened(tmp_path)
    sequences = [exchange.sequence for exchange in read_exchanges(tmp_path)]
    assert sequences == list(range(len(sequences)))
    assert len(sequences) % 50 == 0
    assert accounts.requests == STARTED
    close_store(store, settle=True)


def test_half_a_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Of a file cut in the middle the front is saved; the message has the count of what is lost."""
    write_killed_run(tmp_path, checkpointed=True)
    path = exchange_path(tmp_path, "g0")
    os.truncate(path, path.stat().st_size // 2)
    caplog.set_level(logging.INFO)
    store, accounts = reopened(tmp_path)
    assert 0 < accounts.recorded < WRITTEN
    assert accounts.dropped == {Drop.CORRUPT: STARTED - accounts.recorded}
    assert f"{accounts.recorded} exchanges were saved" in caplog.text
    assert f"{STARTED - accounts.recorded} were lost and count as dropped{{corrupt}}" in caplog.text
    close_store(store, settle=True)


def test_broken_file_of_an_earlier_release(tmp_path: Path) -> None:
    """What it lacks is empty in the fresh one; its rows are saved all the same."""
    old = ExchangeFile(exchange_path(tmp_path, "g0"))
    old.append([build_exchange(0), build_exchange(1)], [build_answer(1)])
    old.close()
    with closing(sqlite3.connect(old.path)) as connection:
        connection.execute("DROP INDEX exchange_of_subject")
        connection.execute("ALTER TABLE exchange DROP COLUMN subject")
    fresh = ExchangeFile(exchange_path(tmp_path, "g1"))
    assert salvage(set_aside_file(old.path), fresh).exchanges == 2
    fresh.close()
    with reading(fresh.path) as connection:
        assert exchange_at(connection, 1) == build_exchange(1)


def test_erasures_in_a_broken_file(tmp_path: Path) -> None:
    """How far they had got is saved with the rows: what they have yet to see to is not forgotten."""
    old = ExchangeFile(exchange_path(tmp_path, "g0"))
    old.append([build_exchange(0)], [])
    wanted = Erasure("t1", Step.RECORD, "desk", None, ("g0-0",), 2**62)
    assert overwrite_slice(old, wanted)
    end_erasure(old, "t1")
    old.close()
    fresh = ExchangeFile(exchange_path(tmp_path, "g1"))
    salvage(set_aside_file(old.path), fresh)
    fresh.close()
    assert report_of(fresh.path, "t1").has_ended
    assert [one.digest for one in erased_inputs([fresh.path], "t1")] == list(build_exchange(0).input_digests)


def test_log_removed(tmp_path: Path) -> None:
    """Without its write-ahead log a killed run has lost what was only there: dropped, and counted."""
    write_killed_run(tmp_path, checkpointed=False)
    Path(f"{exchange_path(tmp_path, 'g0')}-wal").unlink()
    store, accounts = reopened(tmp_path)
    assert accounts.requests == STARTED
    assert accounts.recorded < WRITTEN
    close_store(store, settle=True)


def test_file_removed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A file that is gone was counted all the same: a fresh one begins with its requests as dropped{corrupt}."""
    write_killed_run(tmp_path, checkpointed=True)
    for path in (tmp_path / "exchanges").glob("g0.sqlite*"):
        path.unlink()
    store, accounts = reopened(tmp_path)
    assert (accounts.requests, accounts.dropped) == (STARTED, {Drop.CORRUPT: STARTED})
    assert store.block > STARTED  # no number is given twice
    assert "action=store_incomplete" in caplog.text
    close_store(store, settle=True)


def test_no_database(tmp_path: Path) -> None:
    """Rubbish in place of the file is set aside, and the next start finds nothing to complain of."""
    write_killed_run(tmp_path, checkpointed=True)
    exchange_path(tmp_path, "g0").write_bytes(b"rubbish" * 1000)
    for _ in range(2):
        store, accounts = reopened(tmp_path)
        assert (accounts.requests, accounts.recorded) == (STARTED, 0)
        close_store(store, settle=True)
    assert len(set_aside(tmp_path)) == 1


def test_file_that_breaks_while_it_is_written(tmp_path: Path) -> None:
    """The recorder goes on with a fresh file and what could be saved, and the accounts hold."""
    routes: Routes = routes_in(tmp_path)
    recorder = Recorder(tmp_path, "g0", RecorderLimits(5000, 10**8), lambda told: None)
    recorder.start()
    begin_and_put(recorder, routes, 2500)
    settled(recorder)
    path = exchange_path(tmp_path, "g0")
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    os.truncate(path, path.stat().st_size // 2)
    begin_and_put(recorder, routes, 500)
    wait_until(lambda: bool(set_aside(tmp_path)))
    accounting = settled(recorder)
    assert accounting.requests == 3000
    assert accounting.dropped["corrupt"] > 0
    assert accounting.recorded == len(read_exchanges(tmp_path))
    recorder.stop(5)
    store, accounts = reopened(tmp_path)
    assert (accounts.requests, accounts.recorded) == (3000, accounting.recorded)
    close_store(store, settle=True)
