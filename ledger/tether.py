"""Starts a command that is told to stop when its parent dies: `tether.py PARENT COMMAND [ARGUMENT ...]`.

A program of its own, since code between fork and exec in a process with threads can deadlock. Linux only;
elsewhere the command runs without that promise.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # linux/prctl.h; survives exec


def tethered(*command: str) -> list[str]:
    """The command line that starts `command` as a child which ends with this process."""
    return [sys.executable, "-I", "-S", __file__, str(os.getpid()), *command]


def main() -> None:
    parent, command = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it died before the call above
        sys.exit(0)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
