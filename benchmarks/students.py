"""The students' throughput, measured by a program of its own."""

import subprocess
import sys
from importlib.util import find_spec

from benchmarks.report import Floor, Report

MODULE = "benchmarks.student_throughput"


def measure(quick: bool) -> Report:
    """Its tables go to the terminal as they come; its exit status says whether its floors hold."""
    if find_spec(MODULE) is None:
        print(f"{MODULE} is not part of this checkout")
        return Report("students", (), (Floor("floors of the students' throughput missed", None, 0),))
    command = [sys.executable, "-m", MODULE, *(["--quick"] if quick else [])]
    status = subprocess.run(command, check=False).returncode
    return Report(
        "students", (), (Floor("floors of the students' throughput missed", float(status != 0), 0),)
    )
