"""The tally: counts that a SIGKILL cannot take away."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from ledger.tally import Drop, Tally

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
