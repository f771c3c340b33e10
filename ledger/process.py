"""What every process of a deployment does about its own life."""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1
PARENT_VARIABLE = "STILLGATE_PARENT"


def end_with_parent(signal_number: int = signal.SIGTERM) -> None:
    """Ask Linux to send the signal when the parent dies, so that a killed parent leaves no orphan.

    A parent names itself in STILLGATE_PARENT, to be recognised if it dies before the request takes effect.
    Does nothing on other systems.
    """
    if not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal_number)
    parent = os.environ.get(PARENT_VARIABLE)
    if parent is not None and os.getppid() != int(parent):
        os.kill(os.getpid(), signal_number)


def environment_of_child() -> dict[str, str]:
    """The environment to start a child with that calls end_with_parent."""
    return {**os.environ, PARENT_VARIABLE: str(os.getpid())}
