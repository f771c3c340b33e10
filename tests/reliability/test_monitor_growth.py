"""What the monitor keeps does not grow with the number of exchanges: its memory, and its row for each slice."""

import os
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from sqlmodel import Session

from ledger.control_file import control_path, open_control_file, open_control_file_read_only
from ledger.exchange import Answer, Exchange
from ledger.exchange_file import ExchangeFile, exchange_path
from ledger.observation import Observation
from ledger.tables import HeartbeatRow
from tests.gateway.running import wait_until
from tests.monitor.world import add_student, shadowed
from tests.reliability.rows import Row
from tests.reliability.scale import sized

CONFIGURATION = """
[deployment]
name = "growth"
data_directory = "."

[monitor]
listen = "127.0.0.1:{port}"
tick_seconds = 0.05

[[task]]
name = "desk"
classes = ["a", "b"]
dialect = "huggingface"
paths = ["/desk"]
teacher = {{ url = "http://127.0.0.1:1", version = "1" }}
capture = {{ inputs = "text" }}
governance = {{ owner = "o", sponsor = "s", driver = "d", validator = "v", operator = "op" }}

[[task.slice]]
name = "tenant"
header = "x-area"
max_values = {slices}
"""
MOST_BYTES = 40_000  # of a slice


@pytest.mark.row("L8")
def test_memory_of_the_monitor(row: Row, tmp_path: Path) -> None:
    """Ten times as many exchanges in as many slices: the process takes no more memory, and no slice 40 kB."""
    slices, exchanges = sized(60, 1999, 1999), sized(1000, 12_000, 100_000)
    row.size = f"{slices + 1} slices, {exchanges} exchanges and ten times as many"
    with monitor(tmp_path, slices) as (process, artifact):
        write(row, tmp_path, artifact, slices, range(exchanges), exchanges // 4)
        early = peak_kib(process)
        write(row, tmp_path, artifact, slices, range(exchanges, 10 * exchanges), exchanges // 4)
        late = peak_kib(process)
    sums, detectors = rows_of(tmp_path, "slice_sums", "sums"), rows_of(tmp_path, "detector", "state")
    row.note(
        peak_mib=round(early / 1024),
        peak_mib_after_ten_times=round(late / 1024),
        slices=sums[0],
        most_bytes_of_sums=sums[1],
        most_bytes_of_detectors=detectors[1],
    )
    assert sums[0] == detectors[0] == slices + 1
    assert sums[1] + detectors[1] <= MOST_BYTES
    assert late < 1.15 * early


@contextmanager
def monitor(directory: Path, slices: int) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """The process, and the student whose answers it judges."""
    engine = open_control_file(directory)
    artifact = add_student(engine, directory, {"all": (600, 300)}).artifact
    engine.dispose()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    path = directory / "stillgate.toml"
    path.write_text(CONFIGURATION.format(port=port, slices=slices))
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}
    with (directory / "monitor.log").open("wb") as log:
        command = [sys.executable, "-m", "monitor", "--config", str(path)]
        process = subprocess.Popen(command, stderr=log, env=environment)
        try:
            yield process, artifact
        finally:
            process.kill()
            process.wait()


def write(row: Row, directory: Path, artifact: str, slices: int, sequences: range, batch: int) -> None:
    """Each batch is folded before the next comes, so that no tick is larger than those at the beginning."""
    with closing(ExchangeFile(exchange_path(directory, "g0"))) as file:
        for first in range(sequences.start, sequences.stop, batch):
            chosen = range(first, min(first + batch, sequences.stop))
            made = [one(row, sequence, artifact, slices) for sequence in chosen]
            file.append([exchange for exchange, _ in made], [answer for _, answer in made])
            wait_until(lambda last=chosen.stop: folded(directory) >= last, 120)


def one(row: Row, sequence: int, artifact: str, slices: int) -> tuple[Exchange, Answer]:
    """Of any confidence, latency and length; one in eight disagrees, which is far within the null."""
    share = row.rng.uniform(0.5, 1)
    said = (share, 1 - share) if row.rng.random() < 0.875 else (1 - share, share)
    exchange, answer = shadowed(
        sequence,
        True,
        artifact,
        teacher=(Observation((0.9, 0.1)),),
        attributes={"x-area": str(sequence % slices)},
        started_at_us=sequence % 2 * 60_000_000,
        input_words=(row.rng.randrange(4000),),
        duration_us=row.rng.randrange(10**6),
    )
    latency = row.rng.randrange(16, 10**6)
    return exchange, answer._replace(observations=(Observation(said),), latency_us=latency)


def folded(directory: Path) -> int:
    """Pairs, by the monitor's own account."""
    engine = open_control_file_read_only(directory)
    try:
        with Session(engine) as session:
            row = session.get(HeartbeatRow, "monitor")
        return 0 if row is None else int(row.report["pairs"])
    finally:
        engine.dispose()


def peak_kib(process: subprocess.Popen[bytes]) -> int:
    status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))


def rows_of(directory: Path, table: str, column: str) -> tuple[int, int]:
    """How many slices have rows, and the bytes of the largest row."""
    # The process has just ended, perhaps within a write: only a connection that may write can clear up after it.
    with closing(sqlite3.connect(control_path(directory))) as connection:
        query = f"SELECT count(DISTINCT slice), max(length({column})) FROM {table}"
        slices, most = connection.execute(query).fetchone()
    return int(slices), int(most)
