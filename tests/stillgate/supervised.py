"""Supervises the programs that standard input describes, as a process that a test can kill."""

import json
import os
import sys
from pathlib import Path

from stillgate.child import Program
from stillgate.supervisor import stop_on_signals, supervise


def main() -> None:
    directory, programs = json.loads(sys.stdin.readline())
    with stop_on_signals() as stop:
        supervise(
            [Program(name, tuple(command)) for name, command in programs.items()],
            Path(directory),
            stop,
            lambda: os.write(1, b"ready\n"),
        )


if __name__ == "__main__":
    main()
