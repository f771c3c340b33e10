"""A gateway in front of real student processes that hang, crawl, crash or hold a hostile model: callers get their
answers, and every exchange that the student owed is answered or counted under its reason."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from ledger.control_file import open_control_file, transaction
from ledger.coverage_file import read_coverage
from ledger.stages import Stage
from ledger.tables import HeartbeatRow
from tests.artifacts import TinyArtifact, register, tiny_artifact
from tests.gateway.running import Running, gateway, wait_until
from tests.gateway.teachers import CLASSES

REQUESTS = 60
LOADING_SECONDS = 60.0


class Deployment:
    """A gateway and a student process on one data directory, the student restarted on demand."""

    def __init__(self, stack: ExitStack, directory: Path, teacher_url: str, **changes: Any) -> None:
        self.directory = directory
        self.control: Engine = open_control_file(directory)
        stack.callback(self.control.dispose)
        self.process: Running = stack.enter_context(gateway(directory, teacher_url, **changes))
        self.student: subprocess.Popen[bytes] | None = None
        stack.callback(self.end_student)

    def shadow(self, **made_of: Any) -> TinyArtifact:
        tiny = tiny_artifact(self.directory, CLASSES, task="desk", **made_of)
        register(self.control, tiny, task="desk", stage=Stage.SHADOW)
        return tiny

    def start_student(self) -> None:
        with (self.directory / "student.log").open("ab") as log:
            command = [sys.executable, "-m", "student", "--config", str(self.directory / "stillgate.toml")]
            self.student = subprocess.Popen(command, stdout=log, stderr=log)

    def end_student(self) -> None:
        if self.student is not None:
            with suppress(ProcessLookupError):
                self.student.send_signal(signal.SIGCONT)
            self.student.kill()
            self.student.wait()

    def report(self) -> dict[str, Any]:
        with transaction(self.control) as session:
            row = session.get(HeartbeatRow, "student")
            return row.report if row is not None else {"loaded": [], "problems": {}}

    def until_loaded(self, tiny: TinyArtifact) -> None:
        wait_until(lambda: tiny.artifact in self.report()["loaded"], LOADING_SECONDS)
        wait_until(lambda: self._shadowed(tiny))

    def ask(self, count: int = REQUESTS) -> None:
        """Every one of them is the teacher's answer."""
        for _ in range(count):
            reply = self.process.predict("billing")
            assert (reply.status, reply.header("x-stillgate-served-by")) == (200, "teacher")

    def account(self) -> tuple[int, int, dict[str, int]]:
        """Eligible, answered, skipped by reason, once the gateway has stopped: nothing may be missing."""
        assert self.process.stop() == 0, self.process.log.read_text()
        (report,) = read_coverage(self.directory)
        students = report["students"]
        eligible, answered = (sum(one["slices"]["all"][side] for one in students) for side in (0, 1))
        skipped: dict[str, int] = {}
        for one in students:
            for reason, count in one["skipped"].items():
                skipped[reason] = skipped.get(reason, 0) + count
        assert eligible == answered + sum(skipped.values())
        return eligible, answered, skipped

    def _shadowed(self, tiny: TinyArtifact) -> bool:
        """The gateway obeys the stage, reaches the process, and an answer has come back."""
        before = self.process.metrics().get("stillgate_shadow_answers_total", 0)
        self.process.predict("billing")
        time.sleep(0.05)
        return self.process.metrics().get("stillgate_shadow_answers_total", 0) > before or before > 0


Start = Callable[..., Deployment]


@pytest.fixture
def start(teacher_url: str, tmp_path: Path) -> Iterator[Start]:
    with ExitStack() as stack:
        yield lambda **changes: Deployment(stack, tmp_path, teacher_url, **changes)


def test_a_hung_student(start: Start) -> None:
    """A stopped process: callers notice nothing, and what it owed is dropped at the deadline."""
    deployment = start(student_settings="shadow_deadline_seconds = 1")
    tiny = deployment.shadow()
    deployment.start_student()
    deployment.until_loaded(tiny)
    assert deployment.student is not None
    os.kill(deployment.student.pid, signal.SIGSTOP)
    deployment.ask()
    dropped = 'stillgate_shadow_dropped_total{reason="deadline"}'
    wait_until(lambda: deployment.process.metrics().get(dropped, 0) >= REQUESTS)
    _, _, skipped = deployment.account()
    assert skipped["deadline"] >= REQUESTS


def test_a_slow_student(start: Start) -> None:
    """One that takes tens of milliseconds for every batch: some answers, the rest counted, no caller waits."""
    deployment = start(student_settings="shadow_deadline_seconds = 0.5\nmax_batch_tokens = 64")
    tiny = deployment.shadow(busy_rounds=200)
    deployment.start_student()
    deployment.until_loaded(tiny)
    deployment.ask()
    _, answered, skipped = deployment.account()
    assert answered > 0
    assert set(skipped) <= {"deadline", "shutdown", "student_down", "not_loaded"}


def test_a_student_that_crashes_again_and_again(start: Start) -> None:
    """Killed four times under load: the teacher answers all along, and afterwards the student answers again."""
    deployment = start()
    tiny = deployment.shadow()
    for _ in range(4):
        deployment.start_student()
        deployment.until_loaded(tiny)
        deployment.ask(15)
        deployment.end_student()
        deployment.ask(5)
    deployment.start_student()
    answers = "stillgate_shadow_answers_total"
    before = deployment.process.metrics()[answers]

    def answers_again() -> bool:
        deployment.ask(1)
        return deployment.process.metrics()[answers] > before

    wait_until(answers_again, LOADING_SECONDS)
    _, answered, skipped = deployment.account()
    assert answered > 0
    assert skipped["student_down"] > 0


@pytest.mark.parametrize(
    ("made_of", "why"),
    [
        ({"always_nan": True}, "not_finite"),
        ({"graph_classes": 5}, "expected"),
        ({"allocate_bytes": 32 * 2**30}, "more memory than student.memory_limit_bytes"),
        ({"busy_rounds": 2**62}, "no end after student.run_seconds = 1"),
    ],
)
def test_a_hostile_model_is_not_loaded_and_its_neighbour_answers(
    start: Start, made_of: dict[str, Any], why: str
) -> None:
    """NaN, the wrong shape, 32 GiB or an endless loop: refused at the warm-up with the reason; a good artifact
    in the same process answers, and what the bad one owed is counted as not loaded."""
    deployment = start(student_settings="run_seconds = 1")
    bad = deployment.shadow(seed=2, **made_of)
    good = deployment.shadow()
    deployment.start_student()
    wait_until(lambda: bad.artifact in deployment.report()["problems"], LOADING_SECONDS)
    assert why in deployment.report()["problems"][bad.artifact]
    deployment.until_loaded(good)
    deployment.ask(10)
    wait_until(lambda: deployment.process.metrics()["stillgate_shadow_answers_total"] >= 10)
    assert deployment.student is not None
    assert deployment.student.poll() is None
    _, answered, skipped = deployment.account()
    assert answered >= 10
    assert skipped["not_loaded"] >= 10


def test_metrics_say_what_runs_the_student(start: Start) -> None:
    """The provider is reported as the process found it, not as it was configured."""
    deployment = start()
    tiny = deployment.shadow()
    deployment.start_student()
    deployment.until_loaded(tiny)
    name = f'stillgate_student_info{{artifact="{tiny.artifact}",provider="CPUExecutionProvider"}}'
    wait_until(lambda: deployment.process.metrics().get(name) == 1)
    assert deployment.report()["providers"] == {tiny.artifact: ["CPUExecutionProvider"]}
