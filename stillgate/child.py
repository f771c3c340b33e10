"""One supervised process: its start, its log, its pid file, and when it is due again after it died."""

import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ledger.tether import tethered

FIRST_DELAY_SECONDS = 0.5  # before a restart; doubles with every death
LONGEST_DELAY_SECONDS = 10.0
STEADY_SECONDS = 30.0  # alive for so long, and the delay starts over
MAX_LINE_BYTES = 65_536  # a longer line is cut into several
MAX_LOG_BYTES = 10 * 2**20  # then the log is moved to .log.1
KEPT_LINES = 20  # for the message when a program cannot start


@dataclass(frozen=True, slots=True)
class Program:
    """What to run, and how to see that it is ready."""

    name: str
    command: tuple[str, ...]
    listens: tuple[str, ...] = ()  # host:port addresses that accept connections when it is ready
    heartbeat: str | None = None  # its sign of life in the control file
    grace_seconds: float = 10.0  # from SIGTERM to SIGKILL
    stops_first: bool = False  # the others are stopped when it is gone


class Child:
    """The process of one program. Only the supervisor's main thread calls it."""

    def __init__(self, program: Program, data_directory: Path, say: Callable[[str, str], None]) -> None:
        self.program = program
        self.attempts = 0
        self.started_at = 0.0  # time.time, to compare with heartbeats
        self.due_at = 0.0  # time.monotonic, while it does not run
        self.recent: deque[str] = deque(maxlen=KEPT_LINES)
        self._delay = 0.0
        self._say = say
        self._pid_file = data_directory / "run" / f"{program.name}.pid"
        self._log_file = data_directory / "logs" / f"{program.name}.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._pump: threading.Thread | None = None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    @property
    def runs(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the process in a session of its own, so that Ctrl-C reaches the supervisor alone."""
        self.attempts += 1
        self.started_at = time.time()
        self._process = subprocess.Popen(
            tethered(*self.program.command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._pid_file.write_text(f"{self._process.pid}\n")
        assert self._process.stdout is not None
        self._pump = threading.Thread(target=self._forward, args=(self._process.stdout,), daemon=True)
        self._pump.start()

    def bury(self) -> int | None:
        """The exit status of a process that has just died, once; when it is due again is decided here."""
        if self._process is None or self._process.poll() is None:
            return None
        status = self._process.returncode
        self._end()
        self._delay = next_delay(self._delay, time.time() - self.started_at)
        self.due_at = time.monotonic() + self._delay
        return status

    @property
    def delay(self) -> float:
        return self._delay

    def signal(self, number: int) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    def wait(self, seconds: float) -> bool:
        """True when the process has ended within the time."""
        if self._process is None:
            return True
        try:
            self._process.wait(max(0.0, seconds))
        except subprocess.TimeoutExpired:
            return False
        self._end()
        return True

    def _end(self) -> None:
        assert self._pump is not None
        self._pump.join(timeout=1.0)  # a grandchild may hold the pipe open; its lines are not waited for
        self._process = None
        self._pid_file.unlink(missing_ok=True)

    def _forward(self, pipe: IO[bytes]) -> None:
        """Copy each line to the log file and to the supervisor's own output."""
        with pipe:
            while line := pipe.readline(MAX_LINE_BYTES):
                text = line.decode("utf-8", "replace").rstrip("\n")
                self.recent.append(text)
                self._say(self.program.name, text)
                _append(self._log_file, line)


def next_delay(previous: float, alive_seconds: float) -> float:
    """Seconds to wait before the next start of a process that died."""
    if alive_seconds >= STEADY_SECONDS or not previous:
        return FIRST_DELAY_SECONDS
    return min(previous * 2, LONGEST_DELAY_SECONDS)


def _append(path: Path, line: bytes) -> None:
    """A full disk costs the log, never the process that writes to it."""
    try:
        if path.exists() and path.stat().st_size > MAX_LOG_BYTES:
            path.rename(path.with_name(f"{path.name}.1"))
        with path.open("ab") as log:
            log.write(line)
    except OSError:
        pass
