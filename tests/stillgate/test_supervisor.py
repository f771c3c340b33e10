"""The supervisor with small real programs: starts, restarts, refusals, and ends of every kind."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from stillgate.child import (
    FIRST_DELAY_SECONDS,
    KEPT_LINES,
    LONGEST_DELAY_SECONDS,
    MAX_LOG_BYTES,
    STEADY_SECONDS,
    Program,
    next_delay,
)
from stillgate.exits import Exit
from stillgate.supervisor import StartFailed, Stop, Voice, is_free, supervise
from stillgate.up import end_leftovers, leftover
from tests.gateway.control.desk import wait_until
from tests.ports import free_ports

SLEEP = "import time; time.sleep(600)"
STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    " print('deaf', flush=True); time.sleep(600)"
)


def _program(name: str, code: str, *arguments: str, **settings: object) -> Program:
    return Program(name, (sys.executable, "-u", "-c", code, *arguments), **settings)


def _pid(directory: Path, name: str) -> int | None:
    try:
        return int((directory / "run" / f"{name}.pid").read_text())
    except (OSError, ValueError):
        return None


def _lives(pid: int) -> bool:
    """A zombie does not count: its parent has only not looked yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@contextmanager
def _supervised(directory: Path, *programs: Program, **settings: Callable[..., bool]) -> Iterator[Stop]:
    """Supervise in a thread until the block ends; children must be gone then."""
    stop, ready, failures = Stop(), threading.Event(), list[BaseException]()

    def work() -> None:
        try:
            supervise(programs, directory, stop, ready.set, **settings)
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        wait_until(lambda: ready.is_set() or failures)
        if not failures:
            yield stop
    finally:
        stop()
        thread.join()
    if failures:
        raise failures[0]


@pytest.mark.parametrize(
    ("previous", "alive", "delay"),
    [
        (0.0, 0.0, FIRST_DELAY_SECONDS),
        (0.5, 0.1, 1.0),
        (8.0, 0.1, LONGEST_DELAY_SECONDS),
        (LONGEST_DELAY_SECONDS, 29.9, LONGEST_DELAY_SECONDS),
        (LONGEST_DELAY_SECONDS, STEADY_SECONDS, FIRST_DELAY_SECONDS),
    ],
)
def test_the_delay_doubles_until_a_process_lives_long_enough(
    previous: float, alive: float, delay: float
) -> None:
    """Half a second to ten; thirty seconds of life begin anew."""
    assert next_delay(previous, alive) == delay


def test_what_is_killed_comes_back_as_another_process(tmp_path: Path) -> None:
    """The others are left alone."""
    with _supervised(tmp_path, _program("one", SLEEP), _program("two", SLEEP)):
        first, other = _pid(tmp_path, "one"), _pid(tmp_path, "two")
        assert first is not None
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: _pid(tmp_path, "one") not in (None, first))
        assert _pid(tmp_path, "two") == other


def test_a_clean_stop_leaves_no_process_and_no_pid_file(tmp_path: Path) -> None:
    """SIGTERM to each, and their numbers are forgotten."""
    with _supervised(tmp_path, _program("one", SLEEP)):
        pid = _pid(tmp_path, "one")
        assert pid is not None
    assert not _lives(pid)
    assert _pid(tmp_path, "one") is None


def test_the_gateway_is_gone_before_the_others_are_told(tmp_path: Path) -> None:
    """What drains still finds the others alive."""
    order = tmp_path / "order"
    code = (
        "import signal, sys, time\n"
        "def end(*_):\n"
        "    time.sleep(float(sys.argv[2])); open(sys.argv[3], 'a').write(sys.argv[1] + '\\n'); sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, end); print('up', flush=True)\n"
        "while True: time.sleep(0.05)\n"
    )
    gateway = _program("gateway", code, "gateway", "0.5", str(order), stops_first=True)
    other = _program("other", code, "other", "0", str(order))
    with _supervised(tmp_path, other, gateway):
        for name in ("gateway", "other"):
            wait_until(lambda name=name: (tmp_path / "logs" / f"{name}.log").exists())
    assert order.read_text().split() == ["gateway", "other"]


def test_what_ignores_sigterm_is_killed_after_its_grace(tmp_path: Path) -> None:
    """Nothing can hold up a stop for ever."""
    with _supervised(tmp_path, _program("deaf", STUBBORN, grace_seconds=0.3)):
        wait_until(lambda: (tmp_path / "logs" / "deaf.log").exists())
        pid = _pid(tmp_path, "deaf")
    assert pid is not None
    assert not _lives(pid)


def test_a_second_signal_does_not_wait_for_the_grace(tmp_path: Path) -> None:
    """Somebody is in a hurry."""
    started = time.monotonic()
    with _supervised(tmp_path, _program("deaf", STUBBORN, grace_seconds=600)) as stop:
        wait_until(lambda: (tmp_path / "logs" / "deaf.log").exists())
        stop()
        stop()
    assert time.monotonic() - started < 300


def test_a_refused_configuration_stops_everything_with_its_message(tmp_path: Path) -> None:
    """Status 2 at the first start: trying again would not help."""
    bad = _program("bad", "import sys; print('task[0].dialect is wrong'); sys.exit(2)")
    with (
        pytest.raises(StartFailed, match="dialect is wrong") as failed,
        _supervised(
            tmp_path, _program("good", SLEEP), bad, _program("never", SLEEP, listens=("127.0.0.1:1",))
        ),
    ):
        pass
    assert failed.value.code == Exit.USAGE
    assert _pid(tmp_path, "good") is None


def test_a_port_taken_at_the_first_start_stops_everything(tmp_path: Path) -> None:
    """With the address in the message."""
    with socket.create_server(("127.0.0.1", 0)) as holder:
        address = f"127.0.0.1:{holder.getsockname()[1]}"
        program = _program("late", "import sys, time; sys.exit(1)", listens=(address,))
        waiting = _program("never", SLEEP, listens=("127.0.0.1:1",))
        with pytest.raises(StartFailed, match=address), _supervised(tmp_path, program, waiting):
            pass


def test_a_crash_at_the_first_start_is_tried_again(tmp_path: Path) -> None:
    """Status 1 with its ports free may be gone the next time."""
    code = (
        "import pathlib, sys, time\n"
        "starts = pathlib.Path(sys.argv[1])\n"
        "first = not starts.exists()\n"
        "with starts.open('a') as file: file.write('started ')\n"
        "if first: sys.exit(1)\n"
        "time.sleep(600)\n"
    )
    starts = tmp_path / "starts"
    with _supervised(tmp_path, _program("shy", code, str(starts))):
        wait_until(lambda: starts.exists() and len(starts.read_text().split()) == 2)

    assert starts.read_text().split() == ["started"] * 2


def test_ready_waits_for_ports_and_signs_of_life(tmp_path: Path) -> None:
    """Listening is not enough for a process that also beats."""
    (port,) = free_ports(1)
    code = f"import socket, time; s = socket.create_server(('127.0.0.1', {port})); time.sleep(600)"
    asked: list[tuple[str, float]] = []

    def beat_seen(process: str, since: float) -> bool:
        asked.append((process, since))
        return len(asked) > 2

    program = _program("beating", code, listens=(f"127.0.0.1:{port}",), heartbeat="pulse")
    with _supervised(tmp_path, program, beat_seen=beat_seen):
        assert not is_free(f"127.0.0.1:{port}")
    assert [process for process, _ in asked] == ["pulse"] * 3
    assert is_free(f"127.0.0.1:{port}")


def test_lines_go_to_the_log_and_out_with_the_name_before_them(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Standard output and error alike, whatever bytes they are."""
    code = (
        "import sys, time; print('to out'); sys.stderr.write('to err\\n');"
        " sys.stderr.buffer.write(b'\\xff\\n'); sys.stderr.flush(); time.sleep(600)"
    )
    log = tmp_path / "logs" / "chatty.log"
    with _supervised(tmp_path, _program("chatty", code)):
        wait_until(lambda: log.exists() and log.read_bytes().count(b"\n") == 3)
    assert b"to out" in log.read_bytes()
    assert "chatty  | to err" in capfd.readouterr().err


def test_a_log_does_not_grow_without_bound(tmp_path: Path) -> None:
    """The full one is moved aside once."""
    (tmp_path / "logs").mkdir()
    log = tmp_path / "logs" / "chatty.log"
    with log.open("wb") as file:
        file.truncate(MAX_LOG_BYTES + 1)
    with _supervised(tmp_path, _program("chatty", f"print('x'); {SLEEP}")):
        wait_until(lambda: log.exists() and log.read_bytes() == b"x\n")
    assert (tmp_path / "logs" / "chatty.log.1").stat().st_size == MAX_LOG_BYTES + 1


def test_a_reader_that_is_slow_costs_lines_and_never_a_program() -> None:
    """What finds no room is counted."""
    reading, writing = os.pipe()
    code = (
        "import os, sys\n"
        "from stillgate.supervisor import Voice\n"
        "voice = Voice()\n"
        "for n in range(20_000): voice.say('x', 'y' * 100)\n"
        "sys.stdout.write(str(voice.dropped)); sys.stdout.flush(); os._exit(0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=writing, text=True, timeout=60
    )
    os.close(reading)
    os.close(writing)
    assert int(done.stdout) > 10_000


def test_the_last_lines_are_let_out(capfd: pytest.CaptureFixture[str]) -> None:
    """finish waits for what was said."""
    voice = Voice()
    for number in range(KEPT_LINES):
        voice.say("x", str(number))
    voice.finish(10.0)
    assert capfd.readouterr().err.count("x       | ") == KEPT_LINES


def test_children_do_not_outlive_a_killed_supervisor(tmp_path: Path) -> None:
    """SIGKILL leaves it no chance to stop them: the kernel tells them."""
    programs = {name: [sys.executable, "-c", SLEEP] for name in ("one", "two")}
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.stillgate.supervised"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps([str(tmp_path), programs]) + "\n")
        process.stdin.flush()
        assert process.stdout.readline() == "ready\n"
        pids = [_pid(tmp_path, name) for name in programs]
        process.kill()
    for pid in pids:
        assert pid is not None
        wait_until(lambda pid=pid: not _lives(pid))


def test_what_a_killed_supervisor_left_is_ended_before_the_next_start(tmp_path: Path) -> None:
    """It is told, then killed; a number that now belongs to another program is left alone."""
    (tmp_path / "run").mkdir()
    program = _program("deaf", STUBBORN, grace_seconds=0.3)
    innocent = _program("innocent", "other code")
    left = subprocess.Popen(program.command, stdout=subprocess.PIPE)
    other = subprocess.Popen([sys.executable, "-c", SLEEP])
    with left, other:
        assert left.stdout is not None
        left.stdout.readline()
        (tmp_path / "run" / "deaf.pid").write_text(f"{left.pid}\n")
        (tmp_path / "run" / "innocent.pid").write_text(f"{other.pid}\n")
        assert leftover(tmp_path / "run" / "deaf.pid", program) == left.pid
        end_leftovers(tmp_path, [program, innocent])
        assert left.wait(10) == -signal.SIGKILL
        assert other.poll() is None
        other.kill()
