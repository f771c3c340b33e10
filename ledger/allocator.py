"""How a process gets its memory from the C library."""

import ctypes
from contextlib import suppress

# malloc.h of glibc
M_TRIM_THRESHOLD = -1
M_MMAP_THRESHOLD = -3
M_ARENA_MAX = -8

_LARGEST_FROM_THE_HEAP = 32 * 2**20  # bytes; the most that glibc accepts
_KEPT_AT_THE_END = 256 * 2**20  # bytes


def use_one_arena() -> None:
    """Call it before the first thread starts; without glibc it does nothing.

    glibc gives every thread an arena of its own and never gives what is free in one to another. Where threads hand
    memory on to each other, as the event loop and the recorder do, each arena keeps the most that it ever held, and
    every burst of load adds to a process that runs for months. The interpreter lock lets one thread allocate at a
    time anyway.
    """
    _set(M_ARENA_MAX, 1)


def keep_what_is_freed() -> None:
    """Call it where the same large blocks are taken and freed again and again, as an inference does.

    glibc gives them back to the system each time, which then has to clear every page anew. What is kept is bounded by
    the most that was ever in use at once.
    """
    _set(M_MMAP_THRESHOLD, _LARGEST_FROM_THE_HEAP)
    _set(M_TRIM_THRESHOLD, _KEPT_AT_THE_END)


def _set(parameter: int, value: int) -> None:
    with suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).mallopt(parameter, value)
