"""Retention: what goes, what stays until the monitor has folded it, and that nothing of it changes the accounts."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from gateway.durability import DURABLE
from gateway.record import Recorder, RecorderLimits
from gateway.retention import Retention
from gateway.routes import Routes
from gateway.store import close_store, open_store
from ledger.clock import now_us
from ledger.exchange_file import exchange_path
from tests.gateway.recording import begin_and_put, routes_in, settled
from tests.gateway.running import read_exchanges, wait_until
from tests.ledger.builders import build_answer


class World:
    """A recorder with retention; `folded` is where the monitor says that it stands."""

    def __init__(self, directory: Path, days: float | None, max_bytes: int) -> None:
        self.directory, self.folded = directory, None
        self.routes: Routes = routes_in(directory)
        retention = Retention(days, max_bytes, lambda: self.folded)
        limits = RecorderLimits(10_000, 10**8)
        self.recorder = Recorder(directory, "g0", limits, lambda told: None, DURABLE, 0, [retention])
        self.recorder.start()

    folded: int | None

    def kept(self) -> list[int]:
        return [exchange.sequence for exchange in read_exchanges(self.directory)]

    def removals(self) -> dict[str, int]:
        with closing(sqlite3.connect(exchange_path(self.directory, "g0"))) as connection:
            return dict(connection.execute("SELECT reason, count FROM removal").fetchall())


@pytest.fixture
def by_age(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path, 1.0, 10**9)
    yield world
    world.recorder.stop(5)


@pytest.fixture
def by_size(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path, None, 2**20)
    yield world
    world.recorder.stop(5)


def test_age(by_age: World) -> None:
    """Old exchanges go, new ones stay; all of them still count as recorded, also at the next start."""
    begin_and_put(by_age.recorder, by_age.routes, 250)
    begin_and_put(by_age.recorder, by_age.routes, 20, started_at_us=now_us())
    wait_until(lambda: by_age.kept() == list(range(250, 270)))
    assert by_age.removals() == {"age": 250}
    assert settled(by_age.recorder).recorded == 270
    by_age.recorder.stop(5)
    store = open_store(by_age.directory, "g0")
    assert (store.before.requests, store.before.recorded, store.before.dropped) == (270, 270, {})
    close_store(store, settle=True)


def test_what_the_monitor_has_not_folded_stays(by_age: World) -> None:
    """An answer that no tick has read keeps its exchange; once it is folded both go."""
    begin_and_put(by_age.recorder, by_age.routes, 3)
    by_age.recorder.put_answers([build_answer(1)])
    wait_until(lambda: by_age.kept() == [1])
    by_age.folded = 1
    wait_until(lambda: by_age.kept() == [])


def test_size(by_size: World) -> None:
    """Above the cap the oldest go, and the file on the disk shrinks."""
    by_size.folded = 10**9
    begin_and_put(by_size.recorder, by_size.routes, 9000, attributes={"x-area": "a" * 300})
    settled(by_size.recorder)
    path = exchange_path(by_size.directory, "g0")
    wait_until(lambda: by_size.removals().get("size", 0) > 5000 and 2**19 < path.stat().st_size < 2**21)
    kept = by_size.kept()
    assert kept == list(range(9000 - len(kept), 9000))
    assert set(by_size.removals()) == {"size"}
    assert settled(by_size.recorder).recorded == 9000


def test_size_wins_over_a_dead_monitor(by_size: World, caplog: pytest.LogCaptureFixture) -> None:
    """What nobody folded goes too when the cap is reached, counted and said."""
    begin_and_put(by_size.recorder, by_size.routes, 4000, attributes={"x-area": "a" * 300})
    by_size.recorder.put_answers([build_answer(sequence) for sequence in range(0, 4000, 2)])
    wait_until(lambda: by_size.removals().get("size_unfolded", 0) > 100)
    assert "action=unfolded_removed" in caplog.text
    assert settled(by_size.recorder).recorded == 4000
