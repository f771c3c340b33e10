"""Moments in which the host took a processor away, as threads tell that nothing else in the machine can hold up.

A virtual machine shares its host. What a request waits then says nothing of the program that it waited for, and at a
p99 of two milliseconds such moments are the p99.
"""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks import packages
from benchmarks.open_loop import Offered
from benchmarks.quantiles import Floats

_SOURCE = Path(__file__).with_name("stalls.c")

Stalls = NDArray[np.float64]  # [stalls, 2]: begin and end, seconds of time.perf_counter
Bools = NDArray[np.bool_]


@contextmanager
def watching_processors(folder: Path) -> Iterator[Path]:
    """Watch every processor meanwhile; the file yielded fills with stalls. Nothing is noted without the right to
    real-time priority."""
    packages.require("gcc")
    program, noted = folder / "stalls", folder / "stalls.txt"
    subprocess.run(["gcc", "-O2", "-pthread", "-o", str(program), str(_SOURCE)], check=True)
    with noted.open("wb") as output:
        process = subprocess.Popen([str(program)], stdout=output)
    try:
        yield noted
    finally:
        process.kill()
        process.wait()


def stalls_in(noted: Path) -> Stalls:
    """So far; a line that is being written is left for later."""
    lines = noted.read_text().rpartition("\n")[0].splitlines()
    return np.array([[float(moment) for moment in line.split()[1:]] for line in lines]).reshape(-1, 2)


def disturbed(seen: Offered, stalls: Stalls) -> Bools:
    """For each answered request, whether it was open during a stall, or as long again after it, while what had
    queued up meanwhile was worked off."""
    begins, ends = stalls[:, 0], stalls[:, 1] + (stalls[:, 1] - stalls[:, 0])
    order = np.argsort(begins)
    begins, ends = begins[order], np.maximum.accumulate(ends[order])
    answered_at = seen.due_at + seen.latencies_us / 1e6
    before = np.searchsorted(begins, answered_at, side="left")  # stalls that began before the answer came
    latest_end = np.concatenate([[-np.inf], ends])[before]
    return latest_end > seen.due_at


def undisturbed_us(seen: Offered, stalls: Stalls) -> Floats:
    """The latencies of the requests that no stall touched."""
    return seen.latencies_us[~disturbed(seen, stalls)]
