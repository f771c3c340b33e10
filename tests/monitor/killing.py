"""Ticks in processes of their own, killed at a chosen moment.

`python -m tests.monitor.killing` takes orders and forks a warm process for each. That process dies before its n-th
SQL statement, by its own hand, or before its n-th system call that changes a file, by that of its parent, who traces
it. Nothing else changes a file, so all n together are every state in which a killed monitor can leave its files.
"""

import ctypes
import gc
import json
import os
import platform
import signal
import sqlite3
import struct
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from ledger.control_file import open_control_file
from monitor.cycle import run_cycle
from monitor.reading import Limits
from tests.monitor.world import build_configuration

ROOT = Path(__file__).parents[2]

Before = Literal["statement", "call"]
Rule = dict[str, Any]

# Linux: open, write, writev, pwrite64, pwritev, fsync, fdatasync, truncate, rename, unlink and their kin
CHANGING = {
    "x86_64": {1, 2, 18, 20, 74, 75, 76, 77, 82, 87, 257, 263, 264, 296, 316, 328},
    "aarch64": {35, 38, 45, 46, 56, 64, 66, 68, 70, 82, 83, 276, 287},
}
OPENING = {"x86_64": {257: 2, 2: 1}, "aarch64": {56: 2}}  # system call -> which argument holds the flags
TRACE_ME, CONTINUE_TO_CALL, SET_OPTIONS, GET_CALL = 0, 24, 0x4200, 0x420E  # requests of ptrace(2)
TELL_CALLS, DIE_WITH_TRACER = 1, 1 << 20  # its options
AT_ENTRY = 1
COMPILED: dict[
    Any, Any
] = {}  # statements that SQLAlchemy has compiled: most of the time of a tick in a fresh process
CALL_STOP = signal.SIGTRAP | 0x80


@dataclass(frozen=True, slots=True)
class Order:
    """One tick of one deployment, and the moment at which its process dies; 0 for none."""

    directory: str
    rules: Sequence[Rule]
    now_us: int
    past: int  # answers that rules which catch up are shown
    before: Before = "statement"
    number: int = 0


@dataclass(frozen=True, slots=True)
class Ended:
    """How the process ended, and how many moments it had until then."""

    status: int  # exit status, or the negative number of a signal
    moments: int

    @property
    def was_killed(self) -> bool:
        return self.status == -signal.SIGKILL


def can_trace() -> str | None:
    """Why processes cannot be traced here; None if they can."""
    if platform.machine() not in CHANGING:
        return f"system calls of {platform.machine()} are not known here"
    with tempfile.TemporaryDirectory() as directory:
        order = Order(directory, (), 0, 1, "call", 1)
        with TickProcesses(order) as processes:
            ended = processes.tick(order)
    return None if ended.was_killed else f"ptrace(2) does not work here: {ended}"


class TickProcesses:
    """The process that forks them. It has lived through one tick itself: what is imported, compiled or cached at
    first use is there in every fork."""

    def __init__(self, warm_up: Order) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.monitor.killing"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
        )
        self._send(warm_up)

    def tick(self, order: Order) -> Ended:
        self._send(order)
        assert self._process.stdout is not None
        return Ended(**json.loads(self._process.stdout.readline()))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate(timeout=30)

    def _send(self, order: Order) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(asdict(order)) + "\n")
        self._process.stdin.flush()


def run_tick(order: Order) -> None:
    """In this process."""
    directory = Path(order.directory)
    engine = open_control_file(directory)
    try:
        configuration = build_configuration(directory, slice=tuple(order.rules))
        compiled = engine.execution_options(compiled_cache=COMPILED)
        run_cycle(compiled, configuration, order.now_us, Limits(order.past, pairs=order.past))
    finally:
        engine.dispose()


def main() -> None:
    run_tick(Order(**json.loads(sys.stdin.readline())))
    gc.freeze()  # or every fork would copy what its collector looks at
    for line in sys.stdin:
        order = Order(**json.loads(line))
        ended = _tick_to_call(order) if order.before == "call" else _tick_to_statement(order)
        sys.stdout.write(json.dumps(asdict(ended)) + "\n")
        sys.stdout.flush()


def _tick_to_statement(order: Order) -> Ended:
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        _in_child(lambda: os.write(writer, str(_counting_statements(order)).encode()))
    os.close(writer)
    _, status = os.waitpid(pid, 0)
    with os.fdopen(reader) as told:
        return Ended(os.waitstatus_to_exitcode(status), int(told.read() or order.number))


def _counting_statements(order: Order) -> int:
    """The number of moments: before each statement of any connection, and after the last."""
    moments = 0

    def at_moment(_statement: str = "") -> None:
        nonlocal moments
        moments += 1
        if moments == order.number:
            os.kill(os.getpid(), signal.SIGKILL)

    def connect(*arguments: Any, **options: Any) -> sqlite3.Connection:
        connection = plain_connect(*arguments, **options)
        connection.set_trace_callback(at_moment)
        return connection

    plain_connect = sqlite3.connect
    sqlite3.connect = sqlite3.dbapi2.connect = connect  # type: ignore[assignment]
    run_tick(order)
    at_moment()
    return moments


def _tick_to_call(order: Order) -> Ended:
    pid = os.fork()
    if pid == 0:
        _in_child(lambda: _traced_tick(order))
    os.waitpid(pid, 0)  # it has stopped itself
    _ptrace(SET_OPTIONS, pid, TELL_CALLS | DIE_WITH_TRACER)
    moments, signal_number = 0, 0
    while True:
        _ptrace(CONTINUE_TO_CALL, pid, signal_number)
        _, status = os.waitpid(pid, 0)
        if not os.WIFSTOPPED(status):
            return Ended(os.waitstatus_to_exitcode(status), moments)
        stopped_by = os.WSTOPSIG(status)
        signal_number = 0 if stopped_by == CALL_STOP else stopped_by
        if stopped_by == CALL_STOP and _changes_a_file(pid):
            moments += 1
            if moments == order.number:
                os.kill(pid, signal.SIGKILL)  # before the kernel begins with the call
                _, status = os.waitpid(pid, 0)
                return Ended(os.waitstatus_to_exitcode(status), moments)


def _traced_tick(order: Order) -> None:
    _ptrace(TRACE_ME, 0, 0)
    os.kill(os.getpid(), signal.SIGSTOP)
    run_tick(order)


def _changes_a_file(pid: int) -> bool:
    """Whether the process is about to begin such a system call."""
    told = ctypes.create_string_buffer(128)
    _ptrace(GET_CALL, pid, ctypes.addressof(told), len(told))
    machine, number = platform.machine(), struct.unpack_from("=Q", told.raw, 24)[0]
    if told.raw[0] != AT_ENTRY or number not in CHANGING[machine]:
        return False
    place = OPENING[machine].get(number)
    return place is None or bool(struct.unpack_from("=Q", told.raw, 32 + 8 * place)[0] & os.O_CREAT)


def _ptrace(request: int, pid: int, value: int, address: int = 0) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    libc.ptrace.restype = ctypes.c_long
    if libc.ptrace(request, pid, address, value) < 0:
        raise OSError(ctypes.get_errno(), f"ptrace request {request:#x}")


def _in_child(work: Any) -> None:
    status = 1
    try:
        work()
        status = 0
    except Exception:
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(status)


if __name__ == "__main__":
    main()
