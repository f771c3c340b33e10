"""Whose request it was, and erasing by it in the one thread that writes."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from gateway.durability import DURABLE
from gateway.erasing import Erasing
from gateway.record import Recorder, RecorderLimits
from gateway.routes import Routes
from ledger.clock import now_us
from ledger.erasures import Erasure, Step
from ledger.exchange_file import exchange_path, reading
from ledger.overwriting import ERASED_SUBJECT, report_of
from ledger.subjects import KEY_FILE, known_subject_key, pseudonym
from tests.gateway.recording import begin_and_put, routes_in, settled
from tests.gateway.running import gateway, read_exchanges, send_raw, wait_until
from tests.gateway.teachers import TeacherApp

HERS, HIS = "a" * 32, "b" * 32
CAPTURE = 'text"\nsubject_header = "X-User-Id'


class World:
    """A recorder that erases; `erasures` is what the control file says."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.erasures: Sequence[Erasure] | None = None
        self.routes: Routes = routes_in(directory)
        limits = RecorderLimits(10_000, 10**8)
        upkeep = [Erasing(lambda: self.erasures)]
        self.recorder = Recorder(directory, "g0", limits, lambda told: None, DURABLE, 0, upkeep)
        self.recorder.start()

    def put(self, count: int, subject: str) -> None:
        begin_and_put(self.recorder, self.routes, count, subject=subject, started_at_us=now_us())

    def ask(self, step: Step = Step.RECORD, subject: str = HERS) -> None:
        self.erasures = (Erasure("t1", step, "desk", subject, (), now_us()),)

    def is_ended(self) -> bool:
        return report_of(exchange_path(self.directory, "g0"), "t1").has_ended

    def subjects(self) -> list[str | None]:
        return [exchange.subject for exchange in read_exchanges(self.directory)]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.recorder.stop(5)


def test_what_waits_in_the_queue_is_reached(world: World) -> None:
    """Exchanges that were queued before it was asked for are erased; those that come afterwards are not."""
    path = exchange_path(world.directory, "g0")
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        world.put(700, HERS)
        world.put(5, HIS)
        world.ask()
        world.put(3, HERS)
        assert world.recorder.accounting().pending == 708
        other.execute("ROLLBACK")
    wait_until(world.is_ended)
    settled(world.recorder)
    assert world.subjects() == [ERASED_SUBJECT] * 700 + [HIS] * 5 + [HERS] * 3
    assert report_of(path, "t1").exchanges == 700
    assert settled(world.recorder).recorded == 708


def test_nothing_is_forgotten_before_the_control_file_was_read(world: World) -> None:
    """What was erased is kept for the lists of jobs until the erasure is past them, or unknown."""
    path = exchange_path(world.directory, "g0")
    world.put(2, HERS)
    settled(world.recorder)
    world.ask()
    wait_until(world.is_ended)
    for step in (Step.COUNTING, Step.COPIES):
        world.ask(step)
        world.put(1, HIS)
        settled(world.recorder)
    world.erasures = None
    world.put(1, HIS)
    settled(world.recorder)
    assert not report_of(path, "t1").is_cleared
    world.ask(Step.CLEARING)
    wait_until(lambda: report_of(path, "t1").is_cleared)
    with reading(path) as connection:
        assert connection.execute("SELECT count(*) FROM erased_exchange").fetchone() == (0,)


def test_a_subject_is_stored_as_a_pseudonym(teacher: TeacherApp, teacher_url: str, tmp_path: Path) -> None:
    """The teacher gets the header; the record a keyed hash of its last value, another one for each task."""
    with gateway(tmp_path, teacher_url, capture=CAPTURE) as process:
        process.predict("my billing", x_user_id="anna")
        assert (b"x-user-id", b"anna") in teacher.seen[-1][3]
        process.predict("my billing")
        process.predict("my billing", x_user_id="")
        body = b'{"inputs":"billing"}'
        head = b"POST /predict HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: %d\r\n" % len(body)
        send_raw(process.port, head + b"x-user-id: eve\r\nX-USER-ID:  Zo\xeb \r\n\r\n" + body)
        process.settled()
        subjects = [exchange.subject for exchange in process.exchanges()]
    key = known_subject_key(tmp_path)
    assert key is not None
    names = [pseudonym(key, "desk", value.encode()) for value in ("anna", "Zoë")]
    assert subjects == [names[0], None, None, names[1]]
    assert pseudonym(key, "wire", b"anna") != names[0] != pseudonym(key[::-1], "desk", b"anna")
    stored = b"".join(path.read_bytes() for path in (tmp_path / "exchanges").iterdir())
    assert b"anna" not in stored


def test_without_the_key_no_texts_are_stored(teacher_url: str, tmp_path: Path) -> None:
    """Nobody could find them to erase them. Callers are served; the log says what to do."""
    (tmp_path / KEY_FILE).write_bytes(b"short")
    with gateway(tmp_path, teacher_url, capture=CAPTURE) as process:
        assert process.predict("my billing", x_user_id="anna").status == 200
        process.settled()
        (exchange,) = process.exchanges()
        assert "action=subject_key" in process.log.read_text()
    assert (exchange.inputs, exchange.subject, len(exchange.teacher)) == (("",), None, 1)
