"""Processor time of whole process trees, and the machine that it was measured on."""

import os
import platform
import subprocess
from pathlib import Path

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


def processor_seconds(pid: int) -> float:
    """User and system time of a process, all its threads, its living descendants and those it has reaped."""
    return sum(_own_seconds(one) for one in _family(pid))


def machine_line() -> str:
    """Cores, processor, kernel, Python and nginx, in one line."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    nginx = subprocess.run(["nginx", "-v"], capture_output=True, text=True, check=True).stderr.strip()
    cores = len(os.sched_getaffinity(0))
    return (
        f"{cores} cores of {model}, Linux {platform.release()}, Python {platform.python_version()},"
        f" {nginx.removeprefix('nginx version: ')}"
    )


def _family(pid: int) -> list[int]:
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [pid, *(one for child in children for one in _family(int(child)))]


def _own_seconds(pid: int) -> float:
    """Fields 14 to 17 of proc(5): utime, stime, cutime, cstime; the name before them may hold spaces."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):  # it ended meanwhile; its parent has its time
        return 0.0
    return sum(map(int, fields[11:15])) / TICKS_PER_SECOND
