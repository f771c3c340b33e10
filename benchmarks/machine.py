"""What stands above every table: the machine, the date and the commit."""

import os
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.processor import machine_line


@dataclass(frozen=True, slots=True)
class Circumstances:
    machine: str
    date: str  # UTC
    commit: str

    def line(self) -> str:
        return f"{self.machine}; {self.date}; commit {self.commit}"


def circumstances() -> Circumstances:
    load = os.getloadavg()[0]
    machine = f"{machine_line()}, load average {load:.1f} before"
    return Circumstances(machine, f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC", _commit())


def said_by(*command: str) -> str:
    """What a command prints about itself, in one line; empty when it is not there."""
    try:
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return " ".join((ended.stdout + ended.stderr).split())


def _commit() -> str:
    folder = str(Path(__file__).parent)
    commit = said_by("git", "-C", folder, "rev-parse", "--short=12", "HEAD")
    changed = said_by("git", "-C", folder, "status", "--porcelain", "--untracked-files=no")
    return f"{commit or 'unknown'}{' with changes' if changed else ''}"
