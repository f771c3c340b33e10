"""Too few descriptors, too little memory, too little processor time: shed, recover, account."""

import resource
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from tests.gateway.running import Running, gateway, wait_until
from tests.reliability.callers import Seen, closed_load, percentile
from tests.reliability.promises import Ledger, check_ledger, check_released, footprint, promises
from tests.reliability.rows import Row
from tests.reliability.scale import sized
from tests.reliability.teachers import nginx_teacher


@contextmanager
def limited(running: Running, which: int, limit: int) -> Iterator[None]:
    """The process keeps what it has, and gets no more than this."""
    soft, hard = resource.prlimit(running.process.pid, which)
    resource.prlimit(running.process.pid, which, (limit, hard))
    try:
        yield
    finally:
        resource.prlimit(running.process.pid, which, (soft, hard))


@pytest.mark.row("F22")
def test_few_descriptors(row: Row, tmp_path: Path) -> None:
    """64 descriptors and more callers than that: nobody gets a wrong answer, and when callers leave it goes on."""
    callers, seconds = 120, sized(3, 20, 60)
    row.size = f"{callers} connections, 64 descriptors, {seconds} s"
    with nginx_teacher(tmp_path / "teacher") as teacher, gateway(tmp_path, teacher.url) as running:
        running.predict("warm")
        before = footprint(running.process.pid)
        with limited(running, resource.RLIMIT_NOFILE, 64), ExitStack() as stack:
            for _ in range(callers):
                connection = socket.create_connection(("127.0.0.1", running.port))
                stack.callback(connection.close)
            with closed_load(running.port, 4) as load, suppress(AssertionError):
                wait_until(lambda: False, seconds)
            assert running.process.poll() is None
        wait_until(lambda: answers(running), 30)
        with closed_load(running.port, 4) as after:
            wait_until(lambda: len(after.seen) >= 100)
        assert all(seen.complete and seen.status == 200 for seen in after.seen)
        check_ledger(row, running, Ledger([*load.seen, *after.seen], teacher=teacher))
        check_released(row, running, before)


def answers(running: Running) -> bool:
    try:
        return running.predict("again").status == 200
    except OSError:
        return False


@pytest.mark.row("F22")
def test_little_memory(row: Row, tmp_path: Path) -> None:
    """Large bodies against a ceiling on memory: the process lives, small requests are answered, and with room
    again everything is."""
    rounds, size = sized(1, 5, 20), 8 * 2**20
    row.size = f"{rounds} times 24 bodies of 8 MiB, 48 MiB of room"
    seen: list[Seen] = []
    with nginx_teacher(tmp_path / "teacher") as teacher, gateway(tmp_path, teacher.url) as running:
        running.predict("warm")
        before = footprint(running.process.pid)
        for _ in range(rounds):
            with limited(running, resource.RLIMIT_DATA, written_bytes(running) + 48 * 2**20):
                send_large(running.port, 24, size)
                assert running.process.poll() is None, running.log.read_text()[-2000:]
            wait_until(lambda: answers(running), 30)
            with closed_load(running.port, 4) as load:
                wait_until(lambda load=load: len(load.seen) >= 50)
            seen += load.seen
        assert [one for one in seen if not one.complete or one.status != 200] == []
        check_ledger(row, running, Ledger(seen, teacher=teacher, hidden=24 * rounds))
        check_released(row, running, before)


def written_bytes(running: Running) -> int:
    """What RLIMIT_DATA counts of a process."""
    status = Path(f"/proc/{running.process.pid}/status").read_text()
    return int(status.partition("VmData:")[2].split()[0]) * 1024


def send_large(port: int, count: int, size: int) -> None:
    """All of them at once; what becomes of each does not matter."""
    with ExitStack() as stack:
        connections = [
            stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=20))
            for _ in range(count)
        ]
        head = f"POST /big HTTP/1.1\r\nHost: a\r\nX-Request: -\r\nContent-Length: {size}\r\n\r\n".encode()
        pieces = [head, *[bytes(65536)] * (size // 65536)]
        for piece in pieces:
            for connection in connections:
                with suppress(OSError):
                    connection.sendall(piece)
        for connection in connections:
            with suppress(OSError):
                connection.settimeout(5)
                connection.recv(100)


@pytest.mark.row("F22")
@pytest.mark.skipif(
    shutil.which("stress-ng") is None, reason="stress-ng is not installed: apt-get install stress-ng"
)
def test_little_processor_time(row: Row, tmp_path: Path) -> None:
    """Twice as many busy processes as cores: slower, and nothing else."""
    seconds = sized(4, 30, 120)
    row.size = f"{seconds} s beside 4 busy processes"
    with (
        nginx_teacher(tmp_path / "teacher") as teacher,
        gateway(tmp_path, teacher.url) as running,
        promises(row, running, teacher) as ledger,
    ):
        stress = subprocess.Popen(
            ["stress-ng", "--quiet", "--cpu", "4", "--timeout", str(seconds)], stdout=subprocess.DEVNULL
        )
        with closed_load(running.port, 8, pause_seconds=0.01) as load:
            stress.wait(seconds + 30)
        ledger.seen = load.seen
    assert all(seen.complete and seen.status == 200 for seen in load.seen)
    row.note(p99_ms=percentile([seen.seconds for seen in load.seen], 0.99))
