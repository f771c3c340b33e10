"""The two faults that the benchmark makes itself."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.conditions import blocking, fsync_shim
from benchmarks.processes import wait_for

WRITE = """
import os, sys
file = open(sys.argv[1], "wb", buffering=0)
for line in sys.stdin:
    file.write(b"x")
    os.fsync(file.fileno())
    print("synced", flush=True)
"""


@pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed")
def test_fsync_returns_when_it_is_no_longer_blocked(tmp_path: Path) -> None:
    """Under the record's folder and nowhere else."""
    state = tmp_path / "state"
    (state / "exchanges").mkdir(parents=True)
    environment = {**os.environ, **fsync_shim(tmp_path, state)}
    outcome = tmp_path / "outcome"

    def syncing(path: Path) -> "subprocess.Popen[str]":
        with outcome.open("w") as output:
            return subprocess.Popen(
                [sys.executable, "-c", WRITE, str(path)],
                stdin=subprocess.PIPE,
                stdout=output,
                text=True,
                env=environment,
            )

    with blocking(state):
        elsewhere = syncing(tmp_path / "elsewhere")
        elsewhere.communicate("go\n", timeout=30)
        assert outcome.read_text() == "synced\n"
        record = syncing(state / "exchanges" / "file")
        assert record.stdin is not None
        record.stdin.write("go\n")
        record.stdin.flush()
        wait_for(lambda: size_of(state / "exchanges" / "file") == 1, "nothing is written", 30)
        assert outcome.read_text() == ""
    record.communicate(timeout=30)
    assert outcome.read_text() == "synced\n"


def size_of(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
