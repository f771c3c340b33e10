"""Killing parts of a running deployment: callers do not notice, and nothing goes uncounted."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger.control_file import open_control_file
from ledger.stages import Stage
from tests.artifacts import register, tiny_artifact
from tests.end_to_end.keyword_teacher import CLASSES
from tests.end_to_end.running import TASK, Running, Traffic, deployment, wait_for

KILLS = int(os.environ.get("STILLGATE_KILLS", "2"))  # `make reliability` asks for ten


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A deployment with a student in shadow."""
    folder = tmp_path_factory.mktemp("kill")
    with deployment(folder) as running:
        add_student(running)
        yield running


def add_student(running: Running) -> str:
    tiny = tiny_artifact(running.data, CLASSES, task=TASK)
    control = open_control_file(running.data)
    register(control, tiny, task=TASK, stage=Stage.SHADOW)
    control.dispose()
    wait_for(lambda: student_answers(running, tiny.artifact), "the student answers")
    return tiny.artifact


def student_answers(running: Running, artifact: str) -> bool:
    before = running.answers_of(artifact)
    running.ask("alpha")
    return running.answers_of(artifact) > before


def the_artifact(folder: Path) -> str:
    return next(path.name for path in (folder / "data" / "artifacts").iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("process", ["student", "monitor", "control", "distill"])
def test_no_request_fails_while_a_part_is_killed(running: Running, process: str) -> None:
    """SIGKILL during traffic, several times: every caller gets the teacher's answer, every part comes back."""
    with Traffic(running) as traffic:
        for _ in range(KILLS):
            sent = traffic.sent
            running.kill(process)
            wait_for(lambda sent=sent: traffic.sent > sent + 20, "traffic goes on")

    assert traffic.failed == []
    assert traffic.sent >= 20 * KILLS
    wait_for(lambda: identity_holds(running), "requests = recorded + dropped, nothing pending")
    wait_for(lambda: running.answers("monitor", "/livez"), "the monitor is back")
    wait_for(lambda: running.answers("control", "/livez"), "control is back")
    wait_for(lambda: student_answers(running, the_artifact(running.folder)), "the student is back")


def identity_holds(running: Running) -> bool:
    accounts = running.accounts()
    return accounts["pending"] == 0 and accounts["requests"] == accounts["recorded"] + accounts["dropped"]


def test_what_a_killed_gateway_swallowed_is_counted(running: Running) -> None:
    """After SIGKILL under traffic the next start counts every lost request as a crash, and the sum holds."""
    before = running.accounts()
    with Traffic(running) as traffic:
        wait_for(lambda: traffic.sent > 50, "traffic flows")
        pid = wait_for(lambda: running.pid_of("gateway"), "the gateway runs")
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: (running.pid_of("gateway") or pid) != pid, "the gateway comes back")
        wait_for(lambda: running.answers("operations", "/readyz"), "the gateway is ready")
        sent = traffic.sent
        wait_for(lambda: traffic.sent > sent + 20, "traffic goes on")

    wait_for(lambda: identity_holds(running), "requests = recorded + dropped, nothing pending")
    after = running.accounts()
    answered = traffic.sent - len(traffic.failed)
    assert after["requests"] - before["requests"] >= answered
    assert after["recorded"] + after["crash"] - before["recorded"] - before["crash"] >= answered


def test_a_second_supervisor_is_refused(running: Running) -> None:
    """Two `stillgate up` on one data directory would fight over its files."""
    config = str(running.folder / "stillgate.toml")
    finished = subprocess.run(
        [sys.executable, "-m", "stillgate", "up", "--config", config],
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert finished.returncode != 0
    assert "stillgate cannot start" in finished.stderr
