"""Servers as child processes: free ports, waiting for somebody to listen, and an end that leaves nobody behind."""

import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from benchmarks.processor import family
from ledger.processors import leave_one_free

START_SECONDS = 90.0  # LiteLLM imports for half a minute on a busy machine
STOP_SECONDS = 30.0
POLL_SECONDS = 0.05


def free_ports(count: int) -> list[int]:
    """So many different ports on which nobody listened a moment ago."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


@contextmanager
def running(
    command: Sequence[str], log: Path, port: int, environment: Mapping[str, str] | None = None
) -> Iterator[int]:
    """Start a server, wait until it listens, yield its pid, and end it."""
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=environment)
    try:
        wait_until_listening(process, port)
        yield process.pid
    finally:
        end(process)


def run_first(pid: int) -> None:
    """Give a process and its children real-time priority, where that is allowed, and keep it off one processor.

    For what sits on other machines in life, the teacher and the callers: a busy gateway must not delay it, and it
    must not take the processor that a gateway's neighbours leave free from under a request.
    """
    for one in family(pid):
        leave_one_free(pid=one)
        with suppress(PermissionError):
            os.sched_setscheduler(one, os.SCHED_FIFO, os.sched_param(1))


def end(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM, and SIGKILL for what does not obey."""
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(STOP_SECONDS)
    process.kill()
    process.wait()


def wait_until_listening(process: subprocess.Popen[bytes], port: int) -> None:
    """Raises RuntimeError when the process ends first, or takes too long."""

    def listens() -> bool:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args!r} ended with status {process.returncode}; its log says why")
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    wait_for(listens, f"{process.args!r} does not listen on port {port}", START_SECONDS)


def wait_for(condition: Callable[[], bool], otherwise: str, seconds: float) -> None:
    """Raises RuntimeError with the sentence when the condition does not come true in time."""
    give_up_at = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > give_up_at:
            raise RuntimeError(f"{otherwise} after {seconds:g} s")
        time.sleep(POLL_SECONDS)
