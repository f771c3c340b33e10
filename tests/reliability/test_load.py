"""Load: as much as goes, more than goes, streams, and callers that read slowly."""

import asyncio
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from tests.gateway.running import gateway, wait_until
from tests.reliability.callers import (
    Load,
    Seen,
    closed_load,
    connection_to,
    fresh_id,
    in_thread,
    open_load,
    percentile,
    request_bytes,
)
from tests.reliability.promises import promises, resident_bytes
from tests.reliability.rows import Row
from tests.reliability.scale import sized
from tests.reliability.teachers import EventTeacher, event_of, nginx_teacher, serving_events

MEBIBYTE = 2**20
_WRK = """
local number = 0
request = function()
  number = number + 1
  local id = string.format("r0w%08d", number)
  return wrk.format("POST", "/predict", {["X-Request"] = id, ["Content-Type"] = "application/json"},
                    '{"inputs":"' .. id .. ' my billing"}')
end
"""
_PAUSE = "delay = function() return 30 end\n"  # milliseconds before each request of a connection


@pytest.mark.row("L2")
@pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed: apt-get install wrk")
@pytest.mark.parametrize("pace", ["a thousand a second", "as fast as it goes"])
def test_wrk(row: Row, tmp_path: Path, pace: str) -> None:
    """wrk on 32 connections: no error, none asked twice. At a thousand a second every request is recorded; above
    what the recorder can write the newest are dropped, and counted."""
    seconds = sized(4, 30, 120)
    row.size = f"{seconds} s"
    flat_out = pace == "as fast as it goes"
    (tmp_path / "ids.lua").write_text(_WRK + ("" if flat_out else _PAUSE))
    drops = {"record_queue_full_count", "record_queue_full_bytes"} if flat_out else set()
    with (
        nginx_teacher(tmp_path / "teacher") as teacher,
        gateway(tmp_path, teacher.url) as running,
        promises(row, running, teacher, drops) as ledger,
    ):
        command = ["wrk", "-t1", "-c32", f"-d{seconds}s", "-s", str(tmp_path / "ids.lua")]
        printed = subprocess.run(
            [*command, f"http://127.0.0.1:{running.port}"], capture_output=True, text=True, check=True
        ).stdout
        assert "Socket errors" not in printed, printed
        assert "Non-2xx" not in printed, printed
        counted = re.search(r"(\d+) requests in", printed)
        rate = re.search(r"Requests/sec:\s+([\d.]+)", printed)
        assert counted is not None
        assert rate is not None
        ledger.hidden = int(running.settled()["requests"])
        assert int(counted[1]) <= ledger.hidden <= int(counted[1]) + 32
    row.add(answered=ledger.hidden)  # wrk has compared every status
    row.note(requests_a_second=round(float(rate[1])))


@pytest.mark.row("L4")
def test_three_times_overload(row: Row, tmp_path: Path) -> None:
    """Three times what the teacher can do: what is accepted is answered within its bound, the rest gets 503 at
    once, and when it is over the next request is answered at once."""
    rate, in_flight = 150, 30
    seconds = sized(4, 30, 60)
    row.size = f"{seconds} s at {3 * rate}/s, capacity {rate}/s"
    with (
        nginx_teacher(tmp_path / "teacher", rate) as teacher,
        gateway(tmp_path, teacher.limited_url, gateway=f"max_in_flight = {in_flight}") as running,
        promises(row, running, teacher) as ledger,
    ):
        with open_load(running.port, 3 * rate) as load:
            wait_until(lambda: load.sent >= 3 * rate * seconds, seconds + 30)
        over_at = time.monotonic()
        wait_until(lambda: running.predict("recovered").status == 200, 5)
        row.note(recovered_ms=round((time.monotonic() - over_at) * 1e3))
        ledger.seen = load.seen
    accepted = [seen for seen in load.seen if seen.status == 200]
    refused = [seen for seen in load.seen if seen.status == 503]
    assert len(accepted) + len(refused) == len(load.seen) == load.sent
    assert len(accepted) > rate * seconds / 3
    assert refused
    assert {seen.served_by for seen in refused} == {"gateway"}
    row.note(
        refused=len(refused),
        accepted_p99_ms=percentile([seen.seconds for seen in accepted], 0.99),
        bound_ms=round(1e3 * in_flight / rate),
        refused_p99_ms=percentile([seen.seconds for seen in refused], 0.99),
    )


@pytest.mark.row("L5")
def test_concurrent_streams(row: Row, tmp_path: Path) -> None:
    """Server-sent events on many connections at once: every stream arrives byte for byte, and ends."""
    streams, events = sized(20, 150, 200), sized(40, 200, 1200)
    row.size = f"{streams} streams of {events} events, 20 a second"
    teacher = EventTeacher(20)
    seen: list[Seen] = []
    with (
        serving_events(teacher) as url,
        gateway(tmp_path, url) as running,
        promises(row, running, teacher) as ledger,
    ):
        ledger.expected = lambda request: b"".join(event_of(request, n) for n in range(events))
        ledger.seen = seen
        with streaming(running.port, streams, events, seen):
            wait_until(lambda: len(seen) == streams, events / 20 + 30)
    assert all(one.complete and one.status == 200 for one in seen)
    slowest = max(one.seconds for one in seen)
    row.note(slower_than_the_teacher_ms=round((slowest - events / 20) * 1e3))


@contextmanager
def streaming(port: int, streams: int, events: int, seen: list[Seen]) -> Iterator[None]:
    async def read(number: int) -> None:
        await asyncio.sleep(number * 0.005)
        async with connection_to(port) as connection:
            seen.append(await connection.ask(fresh_id(), path=f"/events/{events}"))

    async def run() -> None:
        await asyncio.gather(*(read(number) for number in range(streams)))

    with in_thread(run, Load()):
        yield


@pytest.mark.row("L6")
def test_slow_readers(row: Row, tmp_path: Path) -> None:
    """Callers that read 1 kB a second of a large body: the gateway holds back the teacher, not the body."""
    readers, size = sized(20, 100, 100), sized(8, 50, 50) * MEBIBYTE
    seconds = sized(4, 20, 60)
    row.size = f"{readers} readers of {size // MEBIBYTE} MiB, {seconds} s"
    with (
        nginx_teacher(tmp_path / "teacher", big_bytes=size) as teacher,
        gateway(tmp_path, teacher.url) as running,
        promises(row, running, teacher) as ledger,
        ExitStack() as stack,
    ):
        running.predict("warm")
        before = most = resident_bytes(running.process.pid)
        sockets = [stack.enter_context(slow_reader(running.port, number)) for number in range(readers)]
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            for one in sockets:
                with suppress(BlockingIOError):  # a window this small opens rarely
                    assert one.recv(1024), "the gateway cut a slow reader"
            most = max(most, resident_bytes(running.process.pid))
            with closed_load(running.port, 1, pause_seconds=0.05) as load:
                wait_until(lambda load=load: len(load.seen) >= 10)
            ledger.seen += load.seen
        stack.close()
        ledger.hidden = readers + 1
    assert all(seen.complete for seen in ledger.seen)
    grown = (most - before) // MEBIBYTE
    row.note(rss_growth_mib=grown, bodies_mib=readers * size // MEBIBYTE)
    assert grown < 64


@contextmanager
def slow_reader(port: int, number: int) -> Iterator[socket.socket]:
    """A connection with a small window that has sent its request."""
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
        connection.connect(("127.0.0.1", port))
        connection.sendall(request_bytes(f"slow{number}", "/big", "GET", b""))
        connection.setblocking(False)
        yield connection


@pytest.mark.row("L3")
@pytest.mark.skipif(sized(0, 0, 1) == 0, reason="the full half hour is part of `make soak`")
def test_half_an_hour(row: Row, tmp_path: Path) -> None:
    """300 requests a second for half an hour: none fails, none is lost, memory stays."""
    seconds, rate = 1800, 300
    row.size = f"{seconds} s at {rate}/s"
    resident: list[tuple[float, int]] = []
    with (
        nginx_teacher(tmp_path / "teacher") as teacher,
        gateway(tmp_path, teacher.url) as running,
        promises(row, running, teacher) as ledger,
        open_load(running.port, rate) as load,
    ):
        started = time.monotonic()
        while (spent := time.monotonic() - started) < seconds:
            if spent > 300:  # the warm-up
                resident.append((spent, resident_bytes(running.process.pid)))
            time.sleep(5)
        load.stop()
        wait_until(lambda: len(load.seen) == load.sent, 60)
        ledger.seen = load.seen
    assert all(seen.complete and seen.status == 200 for seen in load.seen)
    slope = slope_of(resident) * 600 / MEBIBYTE
    row.note(rss_mib_in_ten_minutes=round(slope, 2))
    assert slope < 1


def slope_of(points: list[tuple[float, int]]) -> float:
    """Least squares, in units of y for one of x."""
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / sum((x - mean_x) ** 2 for x, _ in points)
