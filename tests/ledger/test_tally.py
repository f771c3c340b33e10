"""The tally: counts that a SIGKILL cannot take away."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from ledger.tally import Drop, Tally, read_tally

COUNT_AND_DIE = """
import os, signal, sys
from pathlib import Path
from ledger.tally import Drop, Tally
tally = Tally(Path(sys.argv[1]))
tally.begin(1000)
for _ in range(5):
    tally.start_request()
tally.drop(Drop.SHUTDOWN, 2)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_numbers_follow_each_other_from_the_start_of_the_block(tmp_path: Path) -> None:
    """A request's number is its place in the block."""
    tally = Tally(tmp_path / "g0.tally")
    tally.begin(1000)

    assert [tally.start_request() for _ in range(3)] == [1000, 1001, 1002]
    assert tally.started == 3
    tally.close()


def test_a_new_block_starts_from_zero(tmp_path: Path) -> None:
    """What an earlier block counted does not leak into the next one."""
    tally = Tally(tmp_path / "g0.tally")
    tally.begin(0)
    tally.start_request()
    tally.drop(Drop.STORE_FAILED)

    tally.begin(50)

    assert (tally.block_first, tally.started, sum(tally.dropped.values())) == (50, 0, 0)
    tally.close()


def test_a_killed_process_leaves_its_counts(tmp_path: Path) -> None:
    """SIGKILL loses nothing that was counted."""
    path = tmp_path / "g0.tally"

    finished = subprocess.run([sys.executable, "-c", COUNT_AND_DIE, str(path)], cwd=os.getcwd())

    assert finished.returncode == -signal.SIGKILL
    tally = Tally(path)
    assert (tally.block_first, tally.started, tally.dropped[Drop.SHUTDOWN]) == (1000, 5, 2)
    tally.close()


def test_a_reader_sees_the_counts_and_changes_nothing(tmp_path: Path) -> None:
    """While the writer goes on, and after it has gone; where there is no tally it makes none."""
    path = tmp_path / "g0.tally"
    assert read_tally(path) is None
    assert not path.exists()
    tally = Tally(path)
    tally.begin(1000)
    tally.start_request()
    tally.drop(Drop.SHUTDOWN, 2)
    before = path.read_bytes()

    reading = read_tally(path)

    assert reading is not None
    assert (reading.block_first, reading.started, reading.dropped[Drop.SHUTDOWN]) == (1000, 1, 2)
    assert path.read_bytes() == before
    tally.close()
    assert read_tally(path) == reading


def test_a_tally_of_an_earlier_release_is_read(tmp_path: Path) -> None:
    """What it could not count is 0."""
    path = tmp_path / "g0.tally"
    path.write_bytes((7).to_bytes(8, sys.byteorder) + (3).to_bytes(8, sys.byteorder))

    reading = read_tally(path)

    assert reading is not None
    assert (reading.block_first, reading.started, set(reading.dropped.values())) == (7, 3, {0})
