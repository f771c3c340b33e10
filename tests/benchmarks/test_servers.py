"""What the comparison stands on: the clock, the load, and the servers."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from benchmarks.nginx import answering_nginx, counting, mirroring_nginx, plain_nginx
from benchmarks.open_loop import offer
from benchmarks.packages import NotInstalled, require
from benchmarks.processes import free_ports, wait_for, wait_until_listening
from benchmarks.processor import processor_seconds, resident_mebibytes
from benchmarks.traffic import CHAT, CLASSIFICATION
from benchmarks.wrk import load

needs_nginx = pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed")
needs_wrk = pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed")
SPIN = (
    "import threading, time\nt = threading.Thread(target=lambda: sum(range(20_000_000)))\nt.start(); t.join()"
)


@contextmanager
def mirrored(folder: Path) -> Iterator[tuple[int, int, int]]:
    """Ports of a proxy that mirrors, its teacher and the target of its copies."""
    proxy, teacher, target = free_ports(3)
    with ExitStack() as stack:
        stack.enter_context(answering_nginx(folder, "teacher", teacher))
        stack.enter_context(answering_nginx(folder, "target", target))
        stack.enter_context(mirroring_nginx(folder, proxy, teacher, target))
        yield proxy, teacher, target


def test_the_time_of_threads_and_children_is_counted() -> None:
    """Work in a thread of a grandchild shows in the processor time of the whole family."""
    run = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {SPIN!r}])\n"
    program = run + "print('done', flush=True)\ninput()"
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    before = processor_seconds(process.pid)
    process.stdout.readline()
    assert processor_seconds(process.pid) - before > 0.1
    process.communicate("\n")


def test_a_process_that_is_gone_has_neither_time_nor_memory() -> None:
    """A child that ends while it is read does not end the measurement."""
    process = subprocess.Popen(["true"])
    process.wait()
    assert processor_seconds(process.pid) == 0
    assert resident_mebibytes(process.pid) is None


@needs_nginx
def test_every_request_reaches_the_mirror_and_none_fails(tmp_path: Path) -> None:
    """The count of an answering server leaves out the questions about the count."""
    with mirrored(tmp_path) as (proxy, teacher, target):
        asked, copies = counting(teacher), counting(target)
        asked_before, copies_before = asked(), copies()
        seen = offer(proxy, "classification", 100, 0.5)
        assert seen.error_count == 0
        assert asked() - asked_before == 50
        wait_for(lambda: copies() - copies_before == 50, "copies are missing", 10)


@needs_nginx
def test_a_proxy_without_its_teacher_is_full_of_errors(tmp_path: Path) -> None:
    """Its 502 is no answer of the teacher."""
    proxy, teacher = free_ports(2)
    with plain_nginx(tmp_path, proxy, teacher):
        seen = offer(proxy, "classification", 50, 0.4)
    assert seen.errors == {"status 502": 20}


@needs_nginx
@needs_wrk
def test_wrk_says_what_it_saw(tmp_path: Path) -> None:
    """Requests, errors and latencies of either kind of traffic."""
    (teacher,) = free_ports(1)
    with answering_nginx(tmp_path, "teacher", teacher):
        for traffic in (CHAT, CLASSIFICATION):
            loaded = load(tmp_path, teacher, traffic, {"X-One": "1"}, 1.0)
            assert loaded.requests > 100
            assert loaded.errors == 0
            assert 0 < loaded.p50_us <= loaded.p99_us


def test_a_server_that_ends_at_once_is_an_error() -> None:
    """The message names the command and its exit status."""
    process = subprocess.Popen(["false"])
    with pytest.raises(RuntimeError, match="status 1"):
        wait_until_listening(process, free_ports(1)[0])


def test_what_is_missing_is_named_with_the_way_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """One command for all of it."""
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(NotInstalled, match="apt-get install nginx-light wrk"):
        require("nginx", "wrk")


def test_an_unknown_part_is_refused() -> None:
    """With the names of those that there are."""
    command = [sys.executable, "-m", "benchmarks", "speed"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert "peers" in ended.stderr
