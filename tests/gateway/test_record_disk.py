"""The record on disks that fill up, fail and hang: callers are served, nothing acknowledged is lost."""

import os
import random
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from gateway.durability import DURABLE
from gateway.record import Recorder, RecorderLimits
from gateway.routes import Routes
from ledger.exchange_file import ExchangeFile, exchange_path
from tests.gateway.recording import begin_and_put, captured, routes_in, settled
from tests.gateway.running import Running, read_exchanges, start_gateway, wait_until

DISK_BYTES = 8 * 2**20
BALLAST_BYTES = 2 * 2**20
SMALL = RecorderLimits(2_000, 10**7)
FAILING_CALLS = int(os.environ.get("STILLGATE_DISK_REQUESTS", "150"))
SEED = int(os.environ.get("STILLGATE_SEED", "1"))

Fault = Callable[[str], None]


@pytest.fixture
def routes(tmp_path: Path) -> Routes:
    return routes_in(tmp_path)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of a few megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)])
    if mounted.returncode:
        pytest.skip("mounting a file system takes root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Take all the room that is left."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space left"):
        for block in (2**16, 2**12):
            while file.write(bytes(block)) == block:
                pass
        raise OSError("No space left")  # a short write says so too
    return filler


def ballast_of(folder: Path) -> Path:
    return exchange_path(folder, "g0").with_suffix(".ballast")


def test_full_disk(small_disk: Path, routes: Routes) -> None:
    """The ballast is given up, what was written stays readable, what waits is written once there is room."""
    recorder = Recorder(small_disk, "g0", SMALL, lambda told: None, DURABLE, BALLAST_BYTES)
    recorder.start()
    begin_and_put(recorder, routes, 100)
    settled(recorder)
    wait_until(ballast_of(small_disk).exists)
    filler = fill(small_disk)
    while not recorder.failing:
        begin_and_put(recorder, routes, 20)
        wait_until(lambda: recorder.failing or recorder.accounting().pending == 0)
    wait_until(lambda: not ballast_of(small_disk).exists())
    begin_and_put(recorder, routes, 50)
    assert len(read_exchanges(small_disk)) >= 100
    assert recorder.accounting().pending >= 50
    filler.unlink()
    accounting = settled(recorder)
    assert accounting.recorded == accounting.requests == len(read_exchanges(small_disk))
    wait_until(ballast_of(small_disk).exists)
    recorder.stop(5)


def test_stop_on_a_full_disk(small_disk: Path, routes: Routes) -> None:
    """The room of the ballast is enough to write what waits and to close the block."""
    recorder = Recorder(small_disk, "g0", SMALL, lambda told: None, DURABLE, BALLAST_BYTES)
    recorder.start()
    wait_until(ballast_of(small_disk).exists)
    fill(small_disk)
    while not recorder.failing:
        begin_and_put(recorder, routes, 20)
        wait_until(lambda: recorder.failing or recorder.accounting().pending == 0)
    begin_and_put(recorder, routes, 20)
    accounting = recorder.accounting()
    recorder.stop(5)
    file = ExchangeFile(exchange_path(small_disk, "g0"))
    assert file.open_blocks() == []
    assert file.accounts().recorded == file.accounts().requests == accounting.requests
    file.close()


def test_full_queue_on_a_full_disk(small_disk: Path, routes: Routes) -> None:
    """Above the caps the newest are dropped and counted as store_failed, and memory stays where it is."""
    recorder = Recorder(
        small_disk, "g0", RecorderLimits(30, 10**6), lambda told: None, DURABLE, BALLAST_BYTES
    )
    recorder.start()
    settled(recorder)
    filler = fill(small_disk)
    while not recorder.failing:
        begin_and_put(recorder, routes, 20)
        wait_until(lambda: recorder.failing or recorder.accounting().pending == 0)
    begin_and_put(recorder, routes, 200)
    accounting = recorder.accounting()
    assert accounting.pending <= 30
    assert accounting.dropped["store_failed"] >= 170
    assert accounting.requests == accounting.recorded + sum(accounting.dropped.values()) + accounting.pending
    filler.unlink()
    settled(recorder)
    recorder.stop(5)


@pytest.fixture(scope="module")
def faults_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source, library = Path(__file__).with_name("disk_faults.c"), tmp_path_factory.mktemp("c") / "faults.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-ldl"], check=True)
    return library


@pytest.fixture
def process(
    faults_library: Path, teacher_url: str, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Running]:
    """A gateway whose exchange file lies on a disk that `inject` makes fail."""
    environment = {
        "LD_PRELOAD": str(faults_library),
        "FAULTS_FOLDER": str(tmp_path / "exchanges"),
        "FAULTS_FILE": str(tmp_path / "faults"),
    }
    settings = "ballast_bytes = 0\n" + getattr(request, "param", "")
    running = start_gateway(tmp_path, teacher_url, environment, gateway=settings)
    yield running
    if running.process.poll() is None:
        running.kill()


@pytest.fixture
def inject(tmp_path: Path) -> Fault:
    def inject(fault: str) -> None:
        (tmp_path / "faults.new").write_text(fault)
        (tmp_path / "faults.new").rename(tmp_path / "faults")

    return inject


def test_input_output_errors(process: Running, inject: Fault, tmp_path: Path) -> None:
    """With every seventh write and fsync failing callers notice nothing; afterwards every exchange is there, once."""
    inject("fail 7")
    assert {process.predict("billing").status for _ in range(FAILING_CALLS)} == {200}
    wait_until(lambda: "action=store_failed" in process.log.read_text())
    inject("")
    accounts = process.settled()
    assert accounts["recorded"] == accounts["requests"] == FAILING_CALLS
    assert [exchange.sequence for exchange in process.exchanges()] == list(range(FAILING_CALLS))
    assert process.stop() == 0
    with closing(sqlite3.connect(exchange_path(tmp_path, "g0"))) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_killed_amid_errors(process: Running, inject: Fault, teacher_url: str, tmp_path: Path) -> None:
    """What was counted as recorded before a SIGKILL is in the file after it, fsync errors or not."""
    inject("fail 5")
    for _ in range(random.Random(SEED).randrange(30, 90)):
        assert process.predict("billing").status == 200
    recorded = process.accounts()["recorded"]
    process.kill()
    inject("")
    after = start_gateway(tmp_path, teacher_url)
    accounts = after.accounts()
    after.kill()
    assert accounts["recorded"] >= recorded
    assert accounts["requests"] == accounts["recorded"] + accounts.get("crash", 0)


@pytest.mark.parametrize("process", ["record_queue_count = 50"], indirect=True)
def test_fsync_hangs(process: Running, inject: Fault) -> None:
    """While fsync does not return callers are served, and above the cap the newest exchanges are counted as lost."""
    inject("hang")
    assert {process.predict("billing").status for _ in range(300)} == {200}
    grown = resident_bytes(process)
    assert {process.predict("billing").status for _ in range(FAILING_CALLS)} == {200}
    assert resident_bytes(process) - grown < 4 * 2**20
    accounts = process.accounts()
    assert accounts["pending"] >= 50
    assert accounts["record_queue_full_count"] > 0
    inject("")
    assert process.settled()["requests"] == 300 + FAILING_CALLS


def resident_bytes(process: Running) -> int:
    pages = Path(f"/proc/{process.process.pid}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def test_file_locked_by_another_process(tmp_path: Path, routes: Routes) -> None:
    """A lock that lasts longer than one try: nothing is lost, and it is written when the lock is gone."""
    recorder = Recorder(tmp_path, "g0", SMALL, lambda told: None)
    recorder.start()
    with closing(sqlite3.connect(exchange_path(tmp_path, "g0"), isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        begin_and_put(recorder, routes, 10)
        wait_until(lambda: recorder.failing)
        assert recorder.accounting().pending == 10
        other.execute("ROLLBACK")
    assert settled(recorder).recorded == 10
    recorder.stop(5)


def test_read_only_disk(small_disk: Path, routes: Routes, caplog: pytest.LogCaptureFixture) -> None:
    """A disk that cannot be written at the start: requests are counted as dropped, and it is said why."""
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    recorder = Recorder(small_disk, "g0", SMALL, lambda told: None)
    recorder.start()
    assert recorder.begin() is None
    assert "Read-only file system" in caplog.text
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    wait_until(lambda: not recorder.failing)
    number = recorder.begin()
    assert number == 1
    recorder.put(captured(routes, number))
    accounting = settled(recorder)
    assert (accounting.requests, accounting.recorded, accounting.dropped["store_failed"]) == (2, 1, 1)
    recorder.stop(5)
