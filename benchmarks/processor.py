"""Processor time and resident memory of processes, from proc(5), and the machine that they were measured on."""

import os
import platform
import re
from contextlib import suppress
from pathlib import Path

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


def processor_seconds(pid: int) -> float:
    """User and system time of a process, all its threads, its living descendants and those it has reaped."""
    return sum(_own_seconds(one) for one in family(pid))


def family(pid: int) -> list[int]:
    """The process and all its living descendants; empty when it is gone."""
    children: list[str] = []
    with suppress(FileNotFoundError, ProcessLookupError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            children += (task / "children").read_text().split()
        return [pid, *(one for child in children for one in family(int(child)))]
    return []


def resident_mebibytes(pid: int) -> float | None:
    """None when the process is gone."""
    with suppress(FileNotFoundError, ProcessLookupError):
        found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
        return int(found[1]) / 1024 if found else None
    return None


def machine_line() -> str:
    """Cores, processor, memory, kernel and Python, in one line."""
    cores = len(os.sched_getaffinity(0))
    gibibytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return (
        f"{cores} cores of {next(models, platform.machine())}, {gibibytes:.0f} GiB,"
        f" Linux {platform.release()}, Python {platform.python_version()}"
    )


def _own_seconds(pid: int) -> float:
    """Fields 14 to 17 of proc(5): utime, stime, cutime, cstime; the name before them may hold spaces."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):  # it ended meanwhile; its parent has its time
        return 0.0
    return sum(map(int, fields[11:15])) / TICKS_PER_SECOND
