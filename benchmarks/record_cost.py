"""Processor microseconds that the record costs a request: an event loop that answers over sockets, with a
recorder behind it and without one, in turns. The figures hold for the gateway process alone."""

import argparse
import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import uvloop

from benchmarks.processor import machine_line
from gateway.captured import Assignment, Body, Captured
from gateway.record import Recorder, RecorderLimits
from gateway.routes import Route, routes_of
from gateway.upstream import Pools
from gateway.writer import Committed
from ledger.configuration import load
from ledger.exchange import Answer, Origin, Outcome, ServedBy
from ledger.observation import Observation

CONNECTIONS = 16
BODY = b'{"inputs":"where is my parcel, it was sent three days ago and the number does not work"}'
REPLY = b'[{"label":"cats","score":0.7},{"label":"dogs","score":0.2},{"label":"birds","score":0.1}]'
SAID = (Observation((0.7, 0.2, 0.1)),)
WORK_ROUNDS = 1_500  # of a loop that stands for the rest of a request's work, about 50 us
CONFIGURATION = """
[deployment]
name = "benchmark"
[[task]]
name = "topics"
classes = ["cats", "dogs", "birds"]
dialect = "huggingface"
paths = ["/topics"]
teacher = { url = "http://127.0.0.1:9", version = "1" }
capture = { inputs = "text" }
governance = { owner = "a", sponsor = "b", driver = "c", validator = "d", operator = "e" }
"""
ASKING = """
import asyncio, sys, time, uvloop
port, connections, rate, seconds = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4])
latencies = []
async def ask(index):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    loop = asyncio.get_running_loop()
    gap, end = connections / rate, loop.time() + seconds
    due = loop.time() + gap * index / connections
    while due < end:
        await asyncio.sleep(max(0, due - loop.time()))
        started = time.perf_counter()
        writer.write(b"x" * 100)
        await reader.readexactly(100)
        latencies.append(time.perf_counter() - started)
        due = max(due + gap, loop.time() - 0.1)
    writer.close()
async def main():
    await asyncio.gather(*(ask(index) for index in range(connections)))
    latencies.sort()
    print(len(latencies), latencies[len(latencies) // 2] * 1e3, latencies[len(latencies) * 99 // 100] * 1e3)
uvloop.run(main())
"""


@dataclass(frozen=True, slots=True)
class Leg:
    requests: int
    p50_ms: float
    p99_ms: float
    processor_us: float  # a request, whole process
    loop_us: float  # of the event loop's thread


class Answering(asyncio.Protocol):
    """Reads a hundred bytes, works a while, has it recorded, replies with as many."""

    def __init__(self, end_of_request: Callable[[], None]) -> None:
        self._end = end_of_request

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own does not inherit from it

    def data_received(self, data: bytes) -> None:
        sum(range(WORK_ROUNDS))
        self._transport.write(data)
        self._end()


async def _leg(
    end_of_request: Callable[[], None], settle: Callable[[], bool], rate: float, seconds: float
) -> Leg:
    server = await asyncio.get_running_loop().create_server(lambda: Answering(end_of_request), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    before, loop_before = time.process_time(), time.thread_time()
    asking = await asyncio.create_subprocess_exec(
        sys.executable, "-c", ASKING, str(port), str(CONNECTIONS), str(rate), str(seconds),
        stdout=subprocess.PIPE,
    )  # fmt: skip
    printed, _ = await asking.communicate()
    while not settle():
        await asyncio.sleep(0.01)
    requests, p50, p99 = printed.split()
    count = int(requests)
    server.close()
    return Leg(
        count, float(p50), float(p99),
        (time.process_time() - before) / count * 1e6, (time.thread_time() - loop_before) / count * 1e6,
    )  # fmt: skip


def _captured(sequence: int, route: Route) -> Captured:
    return Captured(
        sequence=sequence, route=route, started_at_us=time.time_ns() // 1000, duration_us=2000,
        outcome=Outcome.COMPLETE, status=200, served_by=ServedBy.TEACHER, assignment=Assignment(),
        fallback=None, teacher_epoch="1", attributes={}, request=Body(BODY), response=Body(REPLY),
        content_type=b"application/json", content_encoding="", inline=None,
    )  # fmt: skip


async def _measure(folder: Path, rate: float, seconds: float, rounds: int, answers: bool) -> None:
    (folder / "stillgate.toml").write_text(CONFIGURATION)
    route = routes_of(load(folder / "stillgate.toml"), Pools()).of(b"/topics")
    loop = asyncio.get_running_loop()

    def committed(group: Committed) -> None:
        loop.call_soon_threadsafe(answer, group)

    def answer(group: Committed) -> None:
        if answers:
            for built in group.built:
                sequence = built.exchange.sequence
                recorder.put_answers([Answer(sequence, "s-1", Origin.SHADOW, 1, 2, SAID)])

    recorder = Recorder(folder, "g0", RecorderLimits(100_000, 2**28), committed)
    recorder.start()

    def record() -> None:
        sequence = recorder.begin()
        assert sequence is not None
        recorder.put(_captured(sequence, route))

    def settled() -> bool:
        return recorder.accounting().pending == 0

    without, recorded = list[Leg](), list[Leg]()
    for _ in range(rounds):
        without.append(await _leg(lambda: None, lambda: True, rate, seconds))
        recorded.append(await _leg(record, settled, rate, seconds))
    print(recorder.accounting())
    await asyncio.to_thread(recorder.stop, 5)
    for name, legs in (("without", without), ("recorded", recorded)):
        print(name, *(f"{field} {statistics.median(getattr(leg, field) for leg in legs):.2f}"
                      for field in Leg.__slots__))  # fmt: skip
    cost = statistics.median(leg.processor_us for leg in recorded) - statistics.median(
        leg.processor_us for leg in without
    )
    print(f"the record: {cost:.1f} us a request")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.record_cost", description=__doc__)
    parser.add_argument("--rate", type=float, default=3000, help="requests a second")
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--answers", action="store_true", help="a student's answer to each exchange too")
    arguments = parser.parse_args()
    print(machine_line())
    with tempfile.TemporaryDirectory(dir=".") as folder:
        uvloop.run(
            _measure(Path(folder), arguments.rate, arguments.seconds, arguments.rounds, arguments.answers)
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
