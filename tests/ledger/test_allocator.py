"""The memory of processes whose threads hand it to each other."""

import platform
import subprocess
import sys

import pytest

ARENAS_OF_FOUR_THREADS = """
import ctypes, os, sys, tempfile, threading
from ledger.allocator import use_one_arena

if sys.argv[1] == "one":
    use_one_arena()
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.fopen.restype = ctypes.c_void_p
alive = threading.Barrier(5)

def allocate():
    libc.malloc(100)
    alive.wait()

for _ in range(4):
    threading.Thread(target=allocate).start()
alive.wait()
with tempfile.NamedTemporaryFile() as told:
    stream = ctypes.c_void_p(libc.fopen(told.name.encode(), b"w"))
    libc.malloc_info(0, stream)
    libc.fclose(stream)
    print(told.read().decode().count("<heap nr="))
"""


def arenas(how: str) -> int:
    ended = subprocess.run(
        [sys.executable, "-c", ARENAS_OF_FOUR_THREADS, how], capture_output=True, text=True, check=True
    )
    return int(ended.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library has no such arenas")
def test_threads_share_one_arena() -> None:
    """Without the call each of them has its own."""
    assert arenas("one") == 1
    assert arenas("as it comes") > 1
