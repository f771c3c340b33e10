"""The recorder over a real exchange file: bounds, groups, faults, and the accounts after each."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.captured import Assignment, Body, CapturedAudit
from gateway.dialects.dialect import Asked, Dialect
from gateway.record import MAX_FORMS, Recorder, RecorderLimits
from gateway.routes import Routes
from gateway.store import append, close_store, open_store
from gateway.writer import Committed
from ledger.exchange import Arm, Origin, ServedBy, Unpaired
from ledger.exchange_file import ExchangeFile, exchange_path
from ledger.observation import Observation
from ledger.tally import Drop, Tally
from tests.gateway.recording import REPLY, begin_and_put, routes_in, settled
from tests.gateway.running import read_exchanges, wait_until
from tests.ledger.builders import build_answer, build_exchange

Start = Callable[..., Recorder]


@pytest.fixture
def routes(tmp_path: Path) -> Routes:
    return routes_in(tmp_path)


@pytest.fixture
def committed() -> list[Committed]:
    return []


@pytest.fixture
def start(tmp_path: Path, committed: list[Committed]) -> Iterator[Start]:
    """Recorders that are stopped at the end."""
    started: list[Recorder] = []

    def start(count: int = 1000, size: int = 10**7) -> Recorder:
        recorder = Recorder(tmp_path, "g0", RecorderLimits(count, size), committed.append)
        recorder.start()
        started.append(recorder)
        return recorder

    yield start
    for recorder in started:
        recorder.stop(0)


def test_forms_are_bounded(routes: Routes, start: Start) -> None:
    """Callers can ask in many shapes; the ones that were seen longest ago are forgotten."""
    recorder = start()
    for number in range(MAX_FORMS):
        recorder.forms["desk", str(number)] = REPLY, b"application/json"
    begin_and_put(recorder, routes, 1)
    settled(recorder)
    assert ("desk", "text") in recorder.forms
    assert ("desk", "0") not in recorder.forms
    assert len(recorder.forms) == MAX_FORMS


def test_groups_are_written(start: Start, routes: Routes, committed: list[Committed], tmp_path: Path) -> None:
    """What is put is written and told; the form of the teacher's reply is remembered."""
    recorder = start()
    begin_and_put(recorder, routes, 700)
    assert settled(recorder).recorded == 700
    assert sum(len(group.built) for group in committed) == 700
    assert [exchange.sequence for exchange in read_exchanges(tmp_path)] == list(range(700))
    assert recorder.forms["desk", "text"] == (REPLY, b"application/json")


@pytest.mark.parametrize(
    ("limits", "reason"),
    [((5, 10**7), Drop.RECORD_QUEUE_FULL_COUNT), ((1000, 6000), Drop.RECORD_QUEUE_FULL_BYTES)],
)
def test_full_queue_drops_the_newest(
    start: Start, routes: Routes, tmp_path: Path, limits: tuple[int, int], reason: Drop
) -> None:
    """Above either bound the newest are dropped and counted; the older ones are written."""
    recorder = start(*limits)
    with closing(sqlite3.connect(exchange_path(tmp_path, "g0"), isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        begin_and_put(recorder, routes, 20)
        accounting = recorder.accounting()
        assert (accounting.requests, accounting.pending, accounting.dropped[reason]) == (20, 5, 15)
        assert recorder.put_answers([build_answer()]) == 0
        other.execute("ROLLBACK")
    assert settled(recorder).recorded == 5


def test_lost_requests_are_counted(start: Start) -> None:
    """A numbered request that is cut at the end of the drain time is dropped with its reason."""
    recorder = start()
    recorder.begin()
    assert recorder.accounting().pending == 1
    recorder.lose(Drop.SHUTDOWN)
    assert settled(recorder).dropped[Drop.SHUTDOWN] == 1


def test_late_answers_and_audits(
    start: Start, routes: Routes, committed: list[Committed], tmp_path: Path
) -> None:
    """Answers and audits that come after the exchange are rows of their own; an unreadable audit is told."""
    recorder = start()
    drawn = Assignment(Arm.STUDENT, "s-1", 3, drawn=True, inclusion=0.05)
    begin_and_put(recorder, routes, 1, served_by=ServedBy.STUDENT, assignment=drawn)
    settled(recorder)
    asked = Asked(("my billing",), "text", True)
    route = routes.of(b"/predict")
    for body in (REPLY, b"broken"):
        assert recorder.put_audit(CapturedAudit(0, route, asked, Body(body), "", 5, 6))
    assert recorder.put_answers([build_answer(0, "s-2", observations=(Observation((0.2, 0.3, 0.5)),))]) == 1
    wait_until(lambda: sum(len(group.answers) for group in committed) == 2)
    assert sum(len(group.unreadable) for group in committed) == 1
    assert {a.origin for group in committed for a in group.answers} == {Origin.AUDIT, Origin.SHADOW}
    (exchange,) = read_exchanges(tmp_path)
    assert (exchange.inclusion, exchange.unpaired, exchange.teacher) == (0.05, None, ())


def test_parser_that_raises_costs_one_pair(start: Start, routes: Routes, tmp_path: Path) -> None:
    """An exchange that no parser was prepared for is written without a pair; the recorder goes on."""

    def explode(body: bytes) -> Asked | Unpaired:
        raise RecursionError("never thought of")

    recorder = start()
    route = routes.of(b"/predict")
    exploding = Dialect(explode, route.dialect.parse_response, route.dialect.render_reply)
    begin_and_put(recorder, routes, 1, route=replace(route, dialect=exploding))
    begin_and_put(recorder, routes, 1)
    assert settled(recorder).recorded == 2
    reasons = [exchange.unpaired for exchange in read_exchanges(tmp_path)]
    assert reasons == [Unpaired.REQUEST_TOO_LARGE, None]


def test_stop_writes_what_waits_and_closes_the_block(start: Start, routes: Routes, tmp_path: Path) -> None:
    """Stopping drains the queue; the next start finds no open block and the same accounts."""
    recorder = start()
    begin_and_put(recorder, routes, 30)
    recorder.stop(5)
    file = ExchangeFile(exchange_path(tmp_path, "g0"))
    assert file.open_blocks() == []
    assert (file.accounts().requests, file.accounts().recorded) == (30, 30)
    file.close()


def test_stop_while_the_store_fails(start: Start, routes: Routes, tmp_path: Path) -> None:
    """What cannot be written until the end is dropped; the block stays open and is settled at the next start."""
    recorder = start()
    with closing(sqlite3.connect(exchange_path(tmp_path, "g0"), isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        begin_and_put(recorder, routes, 3)
        recorder.stop(0)
        other.execute("ROLLBACK")
    again = start()
    accounting = settled(again)
    assert (accounting.requests, accounting.recorded) == (3, 0)
    assert accounting.dropped[Drop.UNWRITTEN] == 3


def test_group_that_was_already_written(tmp_path: Path) -> None:
    """A commit that reached the disk although it was reported as failed is not a failure for ever."""
    store = open_store(tmp_path, "g0")
    store.file.append([build_exchange(0)], [])
    assert append(store.file, [build_exchange(0), build_exchange(1)], [build_answer(1)]) == set()
    close_store(store, settle=True)
    assert [exchange.sequence for exchange in read_exchanges(tmp_path)] == [0, 1]


def test_row_that_cannot_be_written(tmp_path: Path) -> None:
    """A row that the file refuses for its own sake costs nobody else his."""
    store = open_store(tmp_path, "g0")
    assert append(store.file, [build_exchange(0, status=2**70), build_exchange(1)], []) == {0}
    close_store(store, settle=False)
    assert [exchange.sequence for exchange in read_exchanges(tmp_path)] == [1]


def test_block_whose_tally_is_gone(tmp_path: Path) -> None:
    """Without its tally a killed block is settled by what was written."""
    store = open_store(tmp_path, "g0")
    for _ in range(5):
        store.tally.start_request()
    store.file.append([build_exchange(3)], [])
    close_store(store, settle=False)
    exchange_path(tmp_path, "g0").with_suffix(".tally").unlink()
    again = open_store(tmp_path, "g0")
    assert (again.before.requests, again.before.recorded, again.before.dropped) == (4, 1, {"crash": 3})
    close_store(again, settle=True)


def test_new_block_continues_the_numbers(tmp_path: Path) -> None:
    """Every run has a block of its own, so that no number is given twice."""
    first = open_store(tmp_path, "g0")
    close_store(first, settle=True)
    second = open_store(tmp_path, "g0")
    assert second.block > first.block
    close_store(second, settle=True)
    tally = Tally(exchange_path(tmp_path, "g0").with_suffix(".tally"))
    assert tally.block_first == second.block
    tally.close()
