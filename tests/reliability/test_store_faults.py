"""Disks that are full, fail, lie or are locked: callers are served, nothing goes uncounted, it recovers."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from ledger.exchange_file import exchange_path
from tests.gateway.running import (
    Running,
    gateway,
    read_exchanges,
    start_gateway,
    wait_until,
    write_configuration,
)
from tests.reliability.callers import closed_load
from tests.reliability.images import integrity_of
from tests.reliability.promises import Ledger, check_ledger, promises
from tests.reliability.rows import Row
from tests.reliability.scale import sized
from tests.reliability.teachers import nginx_teacher

DROPS = ("store_failed", "record_queue_full_count", "record_queue_full_bytes")
FAILING = 'stillgate_degraded{part="store"}'
DISK_BYTES = 8 * 2**20


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A real file system of eight mebibytes."""
    folder.mkdir()
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)],
        capture_output=True,
        text=True,
    )
    if mount.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {mount.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=False)


def fill(folder: Path) -> Path:
    """Somebody else takes all the room that is left."""
    path = folder / "somebody_else"
    with suppress(OSError), path.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(65536))
    with suppress(OSError), path.open("ab", buffering=0) as file:
        while True:
            file.write(b"0")
    return path


@pytest.mark.row("F17")
def test_full_disk(row: Row, tmp_path: Path) -> None:
    """The disk is full: every caller is served, drops are counted, and with room again recording goes on
    without a restart."""
    rounds, requests = sized(1, 4, 20), sized(150, 1500, 3000)
    row.size = f"{rounds} times full, at least {requests} requests each"
    with (
        small_disk(tmp_path / "disk") as disk,
        nginx_teacher(tmp_path / "teacher") as teacher,
        gateway(disk, teacher.url, gateway="record_queue_count = 50\nballast_bytes = 1048576") as running,
        promises(row, running, teacher, drops=DROPS) as ledger,
    ):
        for _ in range(rounds):
            filling = fill(disk)
            with closed_load(running.port, 4) as load:
                wait_until(
                    lambda load=load: load.answered() > requests and running.metrics()[FAILING] == 1, 60
                )
                filling.unlink()
                wait_until(lambda: running.metrics()[FAILING] == 0, 30)
                answered = load.answered()
                wait_until(lambda load=load, answered=answered: load.answered() > answered + 20)
            assert all(seen.complete and seen.status == 200 for seen in load.seen)
            ledger.seen += load.seen
        recorded = running.settled()["recorded"]
        running.predict("recovered")
        assert running.settled()["recorded"] == recorded + 1


@pytest.mark.row("F18")
@pytest.mark.skipif(
    shutil.which("fiu-run") is None, reason="fiu-run is not installed: apt-get install fiu-utils"
)
def test_failing_disk(row: Row, tmp_path: Path) -> None:
    """Writes and syncs fail by chance with EIO: no caller notices, and what is told as recorded is there."""
    runs, requests = sized(1, 6, 30), sized(150, 800, 2000)
    row.size = f"{runs} seeds, at least {requests} requests each, 3 % of writes and syncs fail"
    for number in range(runs):
        folder = tmp_path / str(number)
        folder.mkdir()
        with (
            nginx_teacher(folder / "teacher") as teacher,
            failing_writes(folder, teacher.url, row) as running,
        ):
            with closed_load(running.port, 4) as load:
                wait_until(lambda load=load: load.answered() > requests, 90)
            told = running.accounts()["recorded"]
            control_faults(folder, running, "disable name={}")  # a large group hardly gets through before
            check_ledger(row, running, Ledger(load.seen, teacher=teacher, drops=frozenset(DROPS)))
            assert all(seen.complete and seen.status == 200 for seen in load.seen)
            assert running.process.poll() is None
            row.add(failures=running.log.read_text().count("action=store_failed"))
            running.kill()
            assert integrity_of(exchange_path(folder, "g0")) == "ok"
            assert len(read_exchanges(folder)) >= told


@contextmanager
def failing_writes(folder: Path, teacher_url: str, row: Row) -> Iterator[Running]:
    """A gateway that starts on a sound disk; from then on libfiu fails its writes."""
    path, port, operations_port = write_configuration(folder, teacher_url)
    command = ["fiu-run", "-x", sys.executable, "-m", "gateway", "--config", str(path)]
    log = folder / "gateway.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=output, env={**os.environ, "TMPDIR": str(folder)}
        )
    running = Running(process, folder, port, operations_port, log)
    try:
        wait_until(lambda: answers(running))
        control_faults(folder, running, "enable_random name={},failnum=1,failinfo=5,probability=0.03")
        yield running
    finally:
        if process.poll() is None:
            running.kill()


def control_faults(folder: Path, running: Running, command: str) -> None:
    """Tell libfiu inside the gateway what shall fail from now on."""
    for name in ("posix/io/rw/pwrite", "posix/io/sync/fsync", "posix/io/sync/fdatasync"):
        told = [
            "fiu-ctrl",
            "-f",
            str(folder / "fiu-ctrl"),
            "-c",
            command.format(name),
            str(running.process.pid),
        ]
        subprocess.run(told, check=True, timeout=20)


def answers(running: Running) -> bool:
    assert running.process.poll() is None, running.log.read_text()
    try:
        return bool(running.metrics())
    except OSError:
        return False


@pytest.mark.row("F19")
def test_damaged_file(row: Row, tmp_path: Path) -> None:
    """The file was cut or had bits flipped while nobody ran: the gateway serves callers, with the rest of the
    record or with an exact sentence, and accounts for every request from then on."""
    damages = sized(4, 30, 200)
    row.size = f"{damages} damages at random places"
    with nginx_teacher(tmp_path / "teacher") as teacher:
        sound = tmp_path / "sound"
        sound.mkdir()
        make_sound_file(sound, teacher.url)
        for number in range(damages):
            folder = tmp_path / f"damaged{number}"
            shutil.copytree(sound, folder)
            damage(row, folder)
            row.add(**{start_on_damaged(folder, teacher.url): 1})
            shutil.rmtree(folder)


def make_sound_file(folder: Path, teacher_url: str) -> None:
    """Some hundred exchanges, killed so that a log with content lies beside the file."""
    with gateway(folder, teacher_url) as running:
        with closed_load(running.port, 4) as load:
            wait_until(lambda: load.answered() > 200)
        running.settled()


def damage(row: Row, folder: Path) -> None:
    """Cut or flip one of the files, or remove the log."""
    path = exchange_path(folder, "g0")
    victims = [path, path.with_name(path.name + "-wal"), path.with_suffix(".tally")]
    victim = row.rng.choice([one for one in victims if one.exists() and one.stat().st_size])
    content = bytearray(victim.read_bytes())
    way = row.rng.choice(["cut", "flip", "flip", "remove"])
    if way == "remove":
        victim.unlink()
    elif way == "cut":
        victim.write_bytes(content[: row.rng.randrange(len(content))])
    else:
        for _ in range(row.rng.choice([1, 16, 256])):
            content[row.rng.randrange(len(content))] ^= 1 << row.rng.randrange(8)
        victim.write_bytes(content)


def start_on_damaged(folder: Path, teacher_url: str) -> str:
    """`recording` or `serving_without_record`: in either case callers are answered and the sum holds. Or
    `refused`, with a sentence about the file."""
    try:
        running = start_gateway(folder, teacher_url)
    except AssertionError:
        log = (folder / "gateway.log").read_text()
        assert "Traceback" not in log, log
        assert ".sqlite" in log, log
        return "refused"
    try:
        assert [running.predict("damaged").status for _ in range(5)] == [200] * 5
        accounts = running.settled()
        if running.metrics()[FAILING]:
            assert "action=store_failed" in running.log.read_text()
            return "serving_without_record"
        assert accounts["requests"] >= 5
        return "recording"
    finally:
        running.kill()


@pytest.mark.row("F20")
def test_locked_file(row: Row, tmp_path: Path) -> None:
    """Another process holds the write lock for long: callers are served, nothing is lost, writing goes on."""
    seconds = sized(3, 30, 30)
    row.size = f"locked for {seconds} s"
    with (
        nginx_teacher(tmp_path / "teacher") as teacher,
        gateway(tmp_path, teacher.url) as running,
        promises(row, running, teacher) as ledger,
    ):
        running.predict("before")
        with (
            closing(sqlite3.connect(exchange_path(tmp_path, "g0"), isolation_level=None)) as other,
            closed_load(running.port, 2, pause_seconds=0.01) as load,
        ):
            other.execute("BEGIN IMMEDIATE")
            until = time.monotonic() + seconds
            wait_until(lambda: time.monotonic() > until, seconds + 10)
            other.execute("ROLLBACK")
        assert all(seen.complete and seen.status == 200 for seen in load.seen)
        ledger.seen = load.seen


@pytest.mark.row("F19")
def test_folder_without_permission(row: Row, tmp_path: Path) -> None:
    """The record's folder cannot be made: callers are served and every request is counted as not stored."""
    (tmp_path / "exchanges").write_text("a file where the folder should be")
    with nginx_teacher(tmp_path / "teacher") as teacher, gateway(tmp_path, teacher.url) as running:
        with closed_load(running.port, 2) as load:
            wait_until(lambda: load.answered() > 50)
        assert all(seen.complete and seen.status == 200 for seen in load.seen)
        accounts = running.settled()
        assert accounts["store_failed"] == accounts["requests"] == len(load.seen)
        row.note(requests=len(load.seen), answered=load.answered(), dropped=int(accounts["store_failed"]))
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(30) == 0
