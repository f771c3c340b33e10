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


FAULTS_OF_TWENTY_BLOCKS = """
import ctypes, resource, sys
from ledger.allocator import keep_what_is_freed

if sys.argv[1] == "keep":
    keep_what_is_freed()
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
size = 24 * 2**20
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    blocks = [ctypes.c_void_p(libc.malloc(size)) for _ in range(3)]
    for block in blocks:
        libc.memset(block, 1, size)
    for block in blocks:
        libc.free(block)
print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) // (3 * size // 4096))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library has no such thresholds")
def test_blocks_that_are_freed_are_used_again() -> None:
    """The system hands the pages out once; without the call it does so nearly every time."""
    faults = {
        how: int(
            subprocess.run(
                [sys.executable, "-c", FAULTS_OF_TWENTY_BLOCKS, how],
                capture_output=True,
                text=True,
                check=True,
            ).stdout
        )
        for how in ("keep", "as it comes")
    }
    assert faults["keep"] <= 1
    assert faults["as it comes"] >= 10
