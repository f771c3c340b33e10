"""What is done to a running deployment: each condition begins, holds for some legs of load, and is taken back."""

import errno
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks import packages
from benchmarks.deployment import Counters, Deployment
from benchmarks.processor import resident_mebibytes

QUICK_ROUNDS, SLOW_ROUNDS = 3, 40  # of a matrix product that takes about a third of a millisecond
QUICK, SLOW = "quick", "ten times slower"
STUDENTS = {QUICK: QUICK_ROUNDS, SLOW: SLOW_ROUNDS}
CRASH_SECONDS = 1.0
FILL_SECONDS = 0.05
DISK_MEBIBYTES = 512
ANSWERS, REQUESTS = ("stillgate_shadow_answers_total", ""), ("stillgate_requests_total", "")
RECORDED = ("stillgate_exchanges_recorded_total", "")
_SOURCE = Path(__file__).with_name("blocked_fsync.c")

Begin = Callable[[Deployment], AbstractContextManager[None]]
Witness = Callable[[Deployment, Counters], bool]  # since these counts, is it as the condition says?


@dataclass(frozen=True, slots=True)
class Condition:
    name: str
    begin: Begin
    holds: Witness
    small_disk: bool = False  # needs the data directory on a file system of its own


@contextmanager
def shadow_off(deployment: Deployment) -> Iterator[None]:
    yield


@contextmanager
def shadow_on(deployment: Deployment, student: str = QUICK) -> Iterator[None]:
    deployment.shadow(student)
    try:
        yield
    finally:
        deployment.wait_until_settled()
        deployment.shadow(None)


@contextmanager
def student_slow(deployment: Deployment) -> Iterator[None]:
    with shadow_on(deployment, SLOW):
        yield


@contextmanager
def student_hung(deployment: Deployment) -> Iterator[None]:
    with shadow_on(deployment), _stopped(deployment.pid_of("student")):
        yield


@contextmanager
def student_crashing(deployment: Deployment) -> Iterator[None]:
    """Killed once a second, whenever its supervisor has brought it back."""
    ended = threading.Event()

    def kill() -> None:
        while not ended.wait(CRASH_SECONDS):
            if "student" in (pids := deployment.pids()):
                _signal(pids["student"], signal.SIGKILL)

    with shadow_on(deployment):
        killer = threading.Thread(target=kill)
        killer.start()
        try:
            yield
        finally:
            ended.set()
            killer.join()
            deployment.wait_until_student_is_back()


@contextmanager
def fsync_blocked(deployment: Deployment) -> Iterator[None]:
    with shadow_on(deployment), blocking(deployment.data_directory):
        yield


@contextmanager
def disk_full(deployment: Deployment) -> Iterator[None]:
    """Another program takes every free byte, again and again."""
    ended, filler = threading.Event(), deployment.data_directory / "somebody-elses-file"

    def fill() -> None:
        with filler.open("wb", buffering=0) as file:
            while not ended.wait(FILL_SECONDS):
                _take_everything(file.fileno())

    with shadow_on(deployment):
        thread = threading.Thread(target=fill)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            filler.unlink()


@contextmanager
def control_and_monitor_dead(deployment: Deployment) -> Iterator[None]:
    """Killed, with a supervisor that is stopped and cannot bring them back."""
    killed = {name: deployment.pid_of(name) for name in ("control", "monitor")}
    with shadow_on(deployment), _stopped(deployment.supervisor):
        for pid in killed.values():
            _signal(pid, signal.SIGKILL)
        yield
    deployment.wait_until(lambda: _all_new(killed, deployment.pids()), "control and monitor are not back")


def nobody_answers(deployment: Deployment, since: Counters) -> bool:
    return deployment.grown(since, ANSWERS) <= 0.1 * deployment.grown(since, REQUESTS)


def a_student_answers(deployment: Deployment, since: Counters) -> bool:
    return deployment.grown(since, ANSWERS) > 0


def a_student_was_down(deployment: Deployment, since: Counters) -> bool:
    return deployment.grown(since, ("stillgate_shadow_dropped_total", "student_down")) > 0


def nothing_is_recorded(deployment: Deployment, since: Counters) -> bool:
    return deployment.grown(since, RECORDED) <= 0.1 * deployment.grown(since, REQUESTS)


def control_and_monitor_are_gone(deployment: Deployment, since: Counters) -> bool:
    """A process that died and was not reaped has no memory."""
    return all(resident_mebibytes(deployment.pids()[name]) is None for name in ("control", "monitor"))


def nothing_is_free(deployment: Deployment, since: Counters) -> bool:
    return shutil.disk_usage(deployment.data_directory).free < 2**20


CONDITIONS = (
    Condition("student off", shadow_off, nobody_answers),
    Condition("student on", shadow_on, a_student_answers),
    Condition("student ten times slower", student_slow, a_student_answers),
    Condition("student hung", student_hung, nobody_answers),
    Condition("student crashing every second", student_crashing, a_student_was_down),
    Condition("record's fsync blocked", fsync_blocked, nothing_is_recorded),
    Condition("control and monitor dead", control_and_monitor_dead, control_and_monitor_are_gone),
    Condition("disk full", disk_full, nothing_is_free, small_disk=True),
)


def fsync_shim(folder: Path, data_directory: Path) -> dict[str, str]:
    """Compile the shim; the environment of a deployment whose fsync `blocking` can block."""
    packages.require("gcc")
    library = folder / "blocked_fsync.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-O2", "-o", str(library), str(_SOURCE)], check=True)
    return {
        "LD_PRELOAD": str(library),
        "BENCH_BLOCK_FILE": str(_flag(data_directory)),
        "BENCH_BLOCK_UNDER": str(data_directory / "exchanges"),
    }


@contextmanager
def blocking(data_directory: Path) -> Iterator[None]:
    """While this lasts, no fsync of the record returns."""
    flag = _flag(data_directory)
    flag.touch()
    try:
        yield
    finally:
        flag.unlink()


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """An ext4 file system in a file. Raises NotInstalled where nobody may mount one."""
    if os.geteuid() != 0:
        raise packages.NotInstalled("a full disk needs a small one, and only root may mount it")
    image, mounted = folder / "disk.img", folder / "disk"
    mounted.mkdir()
    image.touch()
    os.truncate(image, DISK_MEBIBYTES * 2**20)
    for command in (
        ["mkfs.ext4", "-q", "-m", "0", str(image)],
        ["mount", "-o", "loop", str(image), str(mounted)],
    ):
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        if ended.returncode:
            raise packages.NotInstalled(f"`{' '.join(command)}` failed: {ended.stderr.strip()}")
    try:
        yield mounted
    finally:
        subprocess.run(["umount", "--lazy", str(mounted)], check=True)


def _all_new(before: Mapping[str, int], now: Mapping[str, int]) -> bool:
    return all(name in now and now[name] != pid for name, pid in before.items())


def _flag(data_directory: Path) -> Path:
    return data_directory.with_name("fsync-is-blocked")


def _take_everything(descriptor: int) -> None:
    """Grow the file by halves down to one block: fallocate takes all it was asked for or nothing."""
    size, end = 64 * 2**20, os.fstat(descriptor).st_size
    while size >= 4096:
        try:
            os.posix_fallocate(descriptor, end, size)
            end += size
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            size //= 2


@contextmanager
def _stopped(pid: int) -> Iterator[None]:
    """Neither dead nor at work."""
    _signal(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        _signal(pid, signal.SIGCONT)


def _signal(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)
