"""How a process gets its memory from the C library."""

import ctypes
from contextlib import suppress

M_ARENA_MAX = -8  # malloc.h of glibc


def use_one_arena() -> None:
    """Call it before the first thread starts; without glibc it does nothing.

    glibc gives every thread an arena of its own and never gives what is free in one to another. Where threads hand
    memory on to each other, as the event loop and the recorder do, each arena keeps the most that it ever held, and
    every burst of load adds to a process that runs for months. The interpreter lock lets one thread allocate at a
    time anyway.
    """
    with suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, 1)
