"""What the comparison with nginx stands on: the clock, the load, and the servers."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.load import load
from benchmarks.nginx import answering_nginx, mirroring_nginx
from benchmarks.ports import free_ports, wait_until_listening
from benchmarks.processor import processor_seconds

needs_nginx = pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed")
SPIN = (
    "import threading, time\nt = threading.Thread(target=lambda: sum(range(20_000_000)))\nt.start(); t.join()"
)


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


def test_a_process_that_is_gone_has_no_time() -> None:
    """A child that ends while it is read does not end the measurement."""
    process = subprocess.Popen(["true"])
    process.wait()
    assert processor_seconds(process.pid) == 0


@needs_nginx
async def test_every_request_reaches_the_mirror_and_none_fails(tmp_path: Path) -> None:
    """The load generator counts whole answers of the teacher, through nginx with mirror."""
    teacher, target, mirror = free_ports(3)
    with (
        answering_nginx(tmp_path, "teacher", teacher),
        answering_nginx(tmp_path, "target", target) as copies,
        mirroring_nginx(tmp_path, mirror, teacher, target) as proxy,
    ):
        figures = await load(mirror, "/topics", 4, 1.0)
        assert figures["requests"] > 100
        assert figures["errors"] == 0
        assert processor_seconds(proxy) > 0
        assert processor_seconds(copies) > 0


@needs_nginx
async def test_an_answer_that_is_not_the_teachers_is_an_error(tmp_path: Path) -> None:
    """A proxy without its teacher answers 502, and that is counted."""
    teacher, target, mirror = free_ports(3)
    with mirroring_nginx(tmp_path, mirror, teacher, target):
        figures = await load(mirror, "/topics", 2, 0.5)
    assert figures["errors"] >= figures["requests"] > 0


def test_a_server_that_ends_at_once_is_an_error() -> None:
    """The message names the command and its exit status."""
    process = subprocess.Popen(["false"])
    with pytest.raises(RuntimeError, match="status 1"):
        wait_until_listening(process, free_ports(1)[0])


def test_without_nginx_it_says_what_to_install() -> None:
    """A clear sentence and exit status 1."""
    ended = subprocess.run(
        [sys.executable, "-m", "benchmarks.gateway_cost"],
        env={**os.environ, "PATH": "/nowhere"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1
    assert "apt-get install nginx-light" in ended.stdout
