"""Keeps a set of programs running: starts them, restarts what dies, and stops them in order."""

import logging
import os
import queue
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from types import FrameType

from stillgate.child import Child, Program
from stillgate.exits import Exit

logger = logging.getLogger(__name__)

TICK_SECONDS = 0.1  # between two looks while something starts or stops
STEADY_SECONDS = 2.0  # while everything runs; signals, that of a child's death included, are heard at once
READY_CHECK_SECONDS = 0.25
CONFIGURATION_STATUS = 2  # exit status of a program whose configuration is wrong
START_FAILED_STATUS = 1
MAX_WAITING_LINES = 2_000  # towards a terminal that somebody has paused; more are dropped and counted


Reaction = Callable[[int, FrameType | None], None]


class StartFailed(Exception):
    """A program cannot run as it is configured: restarting it would not help."""

    def __init__(self, message: str, code: Exit) -> None:
        super().__init__(message)
        self.code = code


class Voice:
    """Prints the programs' lines without ever holding up the programs."""

    def __init__(self) -> None:
        self._lines: queue.Queue[str] = queue.Queue(MAX_WAITING_LINES)
        self.dropped = 0
        threading.Thread(target=self._print, daemon=True).start()

    def say(self, name: str, text: str) -> None:
        try:
            # a line of JSON says itself which process it is of
            self._lines.put_nowait(f"{text}\n" if text.startswith("{") else f"{name:<8}| {text}\n")
        except queue.Full:
            self.dropped += 1

    def finish(self, seconds: float = 1.0) -> None:
        """Let the last lines out."""
        end = time.monotonic() + seconds
        while self._lines.unfinished_tasks and time.monotonic() < end:
            time.sleep(0.01)

    def _print(self) -> None:
        while True:
            line = self._lines.get()
            try:
                sys.stderr.write(line)
                sys.stderr.flush()
            except (OSError, ValueError):
                self.dropped += 1  # nobody reads any more
            self._lines.task_done()


class Stop:
    """What the signals asked for: once to stop, twice to hurry; or to read the configuration again."""

    def __init__(self, signals: int | None = None) -> None:
        self.asked = threading.Event()
        self.hurry = threading.Event()
        self.reload = threading.Event()
        self._signals = signals  # a descriptor that every signal writes to; None where no signal is heard

    def __call__(self, _signal: int = 0, _frame: FrameType | None = None) -> None:
        (self.hurry if self.asked.is_set() else self.asked).set()

    def wait(self, seconds: float) -> None:
        """Until a signal comes, that of a child's death included, and at most so long."""
        if self._signals is None:
            self.asked.wait(min(seconds, TICK_SECONDS))
        elif select.select([self._signals], [], [], seconds)[0]:
            os.read(self._signals, 4096)

    def read_again(self, _signal: int = 0, _frame: FrameType | None = None) -> None:
        self.reload.set()


@contextmanager
def stop_on_signals() -> Iterator[Stop]:
    """SIGTERM, SIGINT and a closed terminal stop; SIGUSR1 asks to reload.

    SIGHUP is a closed terminal where there is one, and asks to reload where there is none; under nohup it is
    ignored.
    """
    told, tell = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    stop = Stop(told)
    wanted: dict[signal.Signals, Reaction] = {
        signal.SIGTERM: stop,
        signal.SIGINT: stop,
        signal.SIGUSR1: stop.read_again,
        signal.SIGCHLD: lambda *_: None,  # heard, so that it wakes the supervisor
    }
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        wanted[signal.SIGHUP] = stop if _has_terminal() else stop.read_again
    before = {number: signal.signal(number, react) for number, react in wanted.items()}
    previous_descriptor = signal.set_wakeup_fd(tell, warn_on_full_buffer=False)
    try:
        yield stop
    finally:
        signal.set_wakeup_fd(previous_descriptor)
        for number, previous in before.items():
            signal.signal(number, previous)
        os.close(told)
        os.close(tell)


def _has_terminal() -> bool:
    try:
        with open("/dev/tty"):
            return True
    except OSError:
        return False


def supervise(
    programs: Sequence[Program],
    data_directory: Path,
    stop: Stop,
    on_ready: Callable[[], object],
    beat_seen: Callable[[str, float], bool] = lambda _process, _since: True,
    on_reload: Callable[[Sequence[Child]], object] = lambda _children: None,
) -> None:
    """Run until asked to stop. Raises StartFailed when a program refuses its first start.

    `beat_seen(process, since)` says whether the process left a heartbeat after that time (time.time).
    """
    for folder in ("run", "logs"):
        (data_directory / folder).mkdir(parents=True, exist_ok=True)
    voice = Voice()
    children = [Child(program, data_directory, voice.say) for program in programs]
    try:
        _run(children, stop, on_ready, beat_seen, on_reload)
    finally:
        stop_children(children, stop)
        voice.finish()


def _run(
    children: Sequence[Child],
    stop: Stop,
    on_ready: Callable[[], object],
    beat_seen: Callable[[str, float], bool],
    on_reload: Callable[[Sequence[Child]], object],
) -> None:
    waiting, next_check = True, 0.0
    while not stop.asked.is_set():
        for child in children:
            keep_running(child)
        if waiting and time.monotonic() >= next_check:
            next_check = time.monotonic() + READY_CHECK_SECONDS
            if all(is_ready(child, beat_seen) for child in children):
                waiting = False
                on_ready()
        if stop.reload.is_set():
            stop.reload.clear()
            on_reload(children)
        steady = not waiting and all(child.runs for child in children)
        stop.wait(STEADY_SECONDS if steady else TICK_SECONDS)


def keep_running(child: Child) -> None:
    """One look at a child: bury it if it died, start it when it is due. Raises StartFailed."""
    status = child.bury()
    if status is not None:
        refuse_hopeless(child, status)
        logger.warning(
            "%s ended with status %d and starts again in %.1f s action=restart",
            child.program.name,
            status,
            child.delay,
        )
    if not child.runs and time.monotonic() >= child.due_at:
        child.start()


def refuse_hopeless(child: Child, status: int) -> None:
    """At the first start, a wrong configuration and a taken port stop everything."""
    if child.attempts > 1:
        return
    said = "\n".join(child.recent) or f"{child.program.name} said nothing"
    if status == CONFIGURATION_STATUS:
        raise StartFailed(f"{child.program.name} refuses its configuration:\n{said}", Exit.USAGE)
    taken = [address for address in child.program.listens if not is_free(address)]
    if status == START_FAILED_STATUS and taken:
        raise StartFailed(
            f"{child.program.name} cannot listen on {', '.join(taken)}, which another process uses:\n{said}",
            Exit.FAILED,
        )


def stop_children(children: Sequence[Child], stop: Stop) -> None:
    """First the gateway, so that requests in flight find the others alive; then everything else."""
    first = [child for child in children if child.program.stops_first]
    _end(first, stop)
    _end([child for child in children if child not in first], stop)


def _end(children: Sequence[Child], stop: Stop) -> None:
    """SIGTERM, then SIGKILL for what outlives its grace or when somebody hurries."""
    for child in children:
        child.signal(signal.SIGTERM)
    started = time.monotonic()
    for child in children:
        deadline = started + child.program.grace_seconds
        while not child.wait(min(TICK_SECONDS, deadline - time.monotonic())):
            if stop.hurry.is_set() or time.monotonic() >= deadline:
                logger.warning("%s is killed action=killed", child.program.name)
                child.signal(signal.SIGKILL)
                child.wait(5.0)
                break


def is_ready(child: Child, beat_seen: Callable[[str, float], bool]) -> bool:
    """It runs, accepts connections and has left a sign of life since its start."""
    if not child.runs or not all(accepts(address) for address in child.program.listens):
        return False
    return child.program.heartbeat is None or beat_seen(child.program.heartbeat, child.started_at)


def accepts(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        with closing(socket.create_connection((_reachable(host), int(port)), timeout=1.0)):
            return True
    except OSError:
        return False


def is_free(address: str) -> bool:
    """Whether a server could listen there now."""
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with closing(socket.socket(family, socket.SOCK_STREAM)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, int(port)))
        except OSError:
            return False
        return True


def taken(addresses: Iterable[str]) -> list[str]:
    return [address for address in addresses if not is_free(address)]


def _reachable(host: str) -> str:
    return {"0.0.0.0": "127.0.0.1", "[::]": "::1", "::": "::1"}.get(host, host.strip("[]"))
