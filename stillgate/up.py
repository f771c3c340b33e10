"""`stillgate up`: everything of one deployment on one machine, until it is told to stop."""

import fcntl
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from ledger.configuration import Configuration
from ledger.control_file import open_control_file, open_control_file_read_only, transaction
from ledger.keys import Role, create_key, has_keys
from ledger.logs import log_to_stderr
from ledger.schema import SchemaTooNew
from ledger.stages import task_stages
from ledger.tables import HeartbeatRow
from stillgate.checks import listens, lock_path
from stillgate.child import Program
from stillgate.exits import Exit
from stillgate.options import DEFAULT_CONFIG, ConfigOption, configuration_of, fail, out
from stillgate.reloading import Reloading
from stillgate.supervisor import StartFailed, stop_on_signals, supervise, taken

logger = logging.getLogger(__name__)

FIRST_PERSON = "admin"
LEFTOVER_POLL_SECONDS = 0.05


class AlreadyUp(Exception):
    """Another supervisor holds the data directory."""


def up(config: Annotated[Path, ConfigOption] = DEFAULT_CONFIG) -> None:
    """Run gateway, student, control, monitor and distill worker; restart what dies; stop on SIGTERM or Ctrl-C."""
    configuration = configuration_of(config)
    log_to_stderr("up", configuration.deployment.log_format)
    directory = configuration.deployment.data_directory
    try:
        with stop_on_signals() as stop, exclusive(directory):
            programs = programs_of(configuration, config)
            end_leftovers(directory, programs)
            refuse_taken(configuration)
            prepare_control_file(directory)
            reading = open_control_file_read_only(directory)
            supervise(
                programs,
                directory,
                stop,
                lambda: announce(configuration, reading),
                beat_seen_in(reading),
                Reloading(config.resolve(), configuration),
            )
    except StartFailed as error:
        fail(str(error), error.code)
    except (AlreadyUp, SchemaTooNew, SQLAlchemyError, OSError) as error:
        fail(f"stillgate cannot start in {directory}: {error}", Exit.FAILED)


def programs_of(configuration: Configuration, config: Path) -> list[Program]:
    """Each process of the architecture: a module that takes --config."""
    gateway = configuration.gateway

    def command(module: str) -> tuple[str, ...]:
        return sys.executable, "-m", module, "--config", str(config.resolve())

    return [
        Program(
            "gateway",
            command("gateway"),
            listens=(gateway.listen, gateway.operations_listen),
            grace_seconds=gateway.drain_seconds + 5,
            stops_first=True,
        ),
        Program("student", command("student"), heartbeat="student"),
        Program(
            "control",
            command("gateway.control"),
            listens=(configuration.control.listen,),
            heartbeat="control",
        ),
        Program("monitor", command("monitor"), listens=(configuration.monitor.listen,), heartbeat="monitor"),
        Program("distill", command("distill"), grace_seconds=15.0),
    ]


@contextmanager
def exclusive(directory: Path) -> Iterator[None]:
    """Hold the data directory; the kernel lets go of it when this process ends, however it ends."""
    path = lock_path(directory)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise AlreadyUp(
                f"another `stillgate up` (process {lock.read().strip() or 'unknown'}) runs there; stop it, or"
                " choose another deployment.data_directory"
            ) from None
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield


def refuse_taken(configuration: Configuration) -> None:
    addresses = taken(listens(configuration))
    if addresses:
        raise StartFailed(
            f"{', '.join(addresses)}: in use by another process, or no address of this machine; end that process"
            " or change the listen settings",
            Exit.FAILED,
        )


def end_leftovers(directory: Path, programs: Sequence[Program]) -> None:
    """Stop what a killed supervisor left behind: its children were told to stop, and may still drain."""
    for program in programs:
        path = directory / "run" / f"{program.name}.pid"
        pid = leftover(path, program)
        if pid is None:
            continue
        logger.info("%s of an earlier run (process %d) is stopped action=leftover", program.name, pid)
        _signal(pid, signal.SIGTERM)
        deadline = time.monotonic() + program.grace_seconds
        while leftover(path, program) and time.monotonic() < deadline:
            time.sleep(LEFTOVER_POLL_SECONDS)
        if leftover(path, program):
            _signal(pid, signal.SIGKILL)
        path.unlink(missing_ok=True)


def leftover(path: Path, program: Program) -> int | None:
    """The process of a pid file, if it still is that program: numbers are given out again."""
    try:
        pid = int(path.read_text())
        running = Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").split(b"\0")
    except (OSError, ValueError):
        return None
    return pid if running == [part.encode() for part in program.command] else None


def _signal(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def prepare_control_file(directory: Path) -> None:
    """Create or upgrade it before five processes meet there; the first time, make and show a key."""
    engine = open_control_file(directory)
    with transaction(engine) as session:
        key = None if has_keys(session) else create_key(session, FIRST_PERSON, Role.ADMIN, "stillgate up")
    engine.dispose()
    if key is not None:
        out.print(f"admin key  {key}", markup=False)
        out.print("           shown only this once; commands read it from STILLGATE_KEY, for example")
        out.print("           stillgate key create PERSON --role operator", markup=False)
        sys.stdout.flush()


def announce(configuration: Configuration, engine: Engine) -> None:
    """Where things are, once everything runs."""
    gateway = configuration.gateway
    out.print(f"proxy      http://{gateway.listen}")
    for task in configuration.task:
        with transaction(engine) as session:
            answering = task_stages(session, task.name).answering
        students = (
            ", ".join(answering)
            or "no student yet: it records, and `stillgate distill open` trains the first"
        )
        out.print(
            f"           {task.name}: {' '.join(task.paths)} -> {task.teacher.url}; {students}", markup=False
        )
    out.print(f"status     http://{configuration.control.listen}/")
    out.print(
        f"metrics    http://{gateway.operations_listen}/metrics http://{configuration.monitor.listen}/metrics"
    )
    sys.stdout.flush()


def beat_seen_in(engine: Engine) -> Callable[[str, float], bool]:
    """Ask the control file whether a process has left a sign of life since a moment (time.time)."""

    def beat_seen(process: str, since: float) -> bool:
        try:
            with transaction(engine) as session:
                row = session.get(HeartbeatRow, process)
                return row is not None and row.at_us >= since * 1e6
        except SQLAlchemyError:
            return False  # locked for now: look again

    return beat_seen
