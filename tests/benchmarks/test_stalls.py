"""Stalls of the host, and the requests that they touched."""

import os
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from benchmarks import packages
from benchmarks.open_loop import Offered
from benchmarks.stalls import Stalls, disturbed, stalls_in, undisturbed_us, watching_processors


def seen(*requests: tuple[float, float]) -> Offered:
    """Requests by the seconds when they were due and when they were answered."""
    due_at, answered_at = np.array(requests).T
    return Offered((answered_at - due_at) * 1e6, due_at, {}, 0.0)


def test_a_request_is_disturbed_while_a_stall_or_its_queue_lasts() -> None:
    """Before it, across it, in it, in the time as long as it that follows, and after that."""
    requests = seen((0, 1), (1, 3), (2.2, 2.3), (2.9, 3.1), (3.4, 3.5), (4.1, 4.2))
    stall = np.array([[2.0, 3.0]])
    assert disturbed(requests, stall).tolist() == [False, True, True, True, True, False]
    assert undisturbed_us(requests, stall) == pytest.approx([1e6, 1e5])


def test_a_long_stall_outlasts_a_short_one_that_began_later() -> None:
    """Those of several processors overlap and come in any order."""
    stalls = np.array([[2.0, 2.1], [1.0, 3.0]])
    assert disturbed(seen((4.5, 4.6), (5.1, 5.2)), stalls).tolist() == [True, False]


def test_without_stalls_every_request_counts(tmp_path: Path) -> None:
    """Also while the first line is being written."""
    noted = tmp_path / "stalls.txt"
    noted.write_text("0 1.5")
    assert not disturbed(seen((1, 2)), stalls_in(noted)).any()


@pytest.mark.skipif(os.geteuid() != 0, reason="real-time priority is root's")
def test_the_watch_notes_when_its_processors_are_late(tmp_path: Path) -> None:
    """Stopped for a while, all of its threads wake up late: that is all that can be brought about on purpose."""
    try:
        with watching_processors(tmp_path) as noted:
            time.sleep(0.2)
            stopped_at = time.perf_counter()
            if subprocess.run(["pkill", "-STOP", "-x", "stalls"], check=False).returncode:
                pytest.skip("the watch ended: no real-time priority here")
            time.sleep(0.3)
            subprocess.run(["pkill", "-CONT", "-x", "stalls"], check=True)
            resumed_at = time.perf_counter()
            give_up_at = time.monotonic() + 20
            while not len(late := _ended_after(resumed_at - 0.05, stalls_in(noted))):
                assert time.monotonic() < give_up_at
                time.sleep(0.01)
            begin, end = late[0]
    except packages.NotInstalled as missing:
        pytest.skip(str(missing))
    assert stopped_at - 0.05 < begin < resumed_at < end + 0.05


def _ended_after(moment: float, stalls: Stalls) -> Stalls:
    return stalls[stalls[:, 1] > moment]
