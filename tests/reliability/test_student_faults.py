"""Students that are missing, wrong, slow, hung, greedy or dead: callers get the teacher's answers all the same."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Engine

from ledger.artifacts import MODEL_FILE
from ledger.control_file import open_control_file, transaction
from ledger.heartbeats import leave_heartbeat
from ledger.stages import Stage, task_stages
from ledger.tables import HeartbeatRow
from student.wire import Response, StudentRequest, socket_path
from tests.artifacts import TinyArtifact, register, tiny_artifact
from tests.gateway.running import Running, gateway, wait_until
from tests.gateway.students import WireStudent, agree, keep_silent, not_a_number, student_at
from tests.gateway.teachers import CLASSES
from tests.reliability.callers import closed_load, open_load, percentile
from tests.reliability.promises import promises
from tests.reliability.rows import Row
from tests.reliability.scale import scale, sized
from tests.reliability.teachers import nginx_teacher

TASK = "desk"


@contextmanager
def student_process(folder: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """The student as a deployment runs it."""
    with (folder / "student.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "student", "--config", str(folder / "stillgate.toml")],
            stdout=log,
            stderr=log,
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait(20)


def student_report(control: Engine) -> dict[str, object]:
    with transaction(control) as session:
        row = session.get(HeartbeatRow, "student")
        return dict(row.report) if row else {}


def beat(control: Engine) -> None:
    """A monitor that is alive: without it the teacher would serve for that reason."""
    with transaction(control) as session:
        leave_heartbeat(session, "monitor", {})


def stage_of(control: Engine, artifact: str) -> Stage:
    with transaction(control) as session:
        return task_stages(session, TASK).stages[artifact][0]


Damage = Callable[[TinyArtifact], None]


def nothing(tiny: TinyArtifact) -> None:
    return None


def remove(tiny: TinyArtifact) -> None:
    shutil.rmtree(tiny.folder)


def flip_a_bit(tiny: TinyArtifact) -> None:
    model = tiny.folder / MODEL_FILE
    model.chmod(0o644)
    content = bytearray(model.read_bytes())
    content[len(content) // 2] ^= 1
    model.write_bytes(content)


BAD_ARTIFACTS: dict[str, tuple[dict[str, int | bool], Damage, bool]] = {
    "missing": ({}, remove, True),
    "corrupt": ({}, flip_a_bit, True),
    "wrong shape": ({"graph_classes": 5}, nothing, True),
    "not a number": ({"always_nan": True}, nothing, True),
    "32 GiB": ({"allocate_bytes": 32 * 2**30}, nothing, True),
    "endless loop": ({"busy_rounds": 2**60}, nothing, False),  # nobody can tell it from a long one
}


QUICK_ONES = ["corrupt", "32 GiB", "endless loop"]  # tests/student looks at the others one by one


@pytest.mark.row("F23")
@pytest.mark.parametrize("kind", QUICK_ONES if scale() == "test" else [*BAD_ARTIFACTS])
def test_bad_artifact_in_canary(row: Row, tmp_path: Path, kind: str) -> None:
    """In canary with half of the requests: all of them get the teacher's answer, the fault is told by the
    student's report, and the stage stays."""
    options, damage, told = BAD_ARTIFACTS[kind]
    requests = sized(100, 1000, 5000)
    row.size = f"{requests} requests"
    control = open_control_file(tmp_path)
    tiny = tiny_artifact(tmp_path, CLASSES, task=TASK, **options)  # type: ignore[arg-type]
    register(control, tiny, task=TASK, stage=Stage.CANARY, share=0.5)
    damage(tiny)
    with (
        nginx_teacher(tmp_path / "teacher") as teacher,
        gateway(tmp_path, teacher.url, stale_seconds=600) as running,
        student_process(tmp_path) as student,
    ):
        beat(control)
        wait_until(lambda: running.metrics()['stillgate_degraded{part="monitor"}'] == 0)
        if told:
            wait_until(lambda: tiny.artifact in str(student_report(control).get("problems")))
        with promises(row, running, teacher) as ledger:
            with closed_load(running.port, 4) as load:
                wait_until(lambda: len(load.seen) >= requests, 120)
            ledger.seen = load.seen
        assert all(seen.complete and seen.status == 200 for seen in load.seen)
        assert {seen.served_by for seen in load.seen} == {"teacher"}
        assert student.poll() is None
        assert not student_report(control).get("loaded")
        assert stage_of(control, tiny.artifact) is Stage.CANARY
        with_student = [exchange for exchange in running.exchanges() if exchange.fallback is not None]
        assert with_student, "no request was in the student's arm"
    control.dispose()


def slow(request: StudentRequest) -> Response | None:
    time.sleep(0.2)
    return agree(request)


def explode(request: StudentRequest) -> Response | None:
    raise ConnectionError("the student drops its connection")


MOODS = {"hangs": keep_silent, "slow": slow, "drops its connection": explode, "not a number": not_a_number}


@pytest.mark.row("L7")
@pytest.mark.parametrize("mood", ["hangs", "slow"] if scale() == "test" else [*MOODS])
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_bad_student_in_shadow(row: Row, tmp_path: Path, mood: str) -> None:
    """A student that hangs, drags, hangs up or talks nonsense at 100 requests a second: no caller notices; what
    it did not answer is counted."""
    seconds, rate = sized(3, 20, 60), 100
    row.size = f"{seconds} s without and {seconds} s with, at {rate}/s"
    with shadowed(tmp_path) as (running, teacher, student), promises(row, running, teacher) as ledger:
        for name, say in (("off", agree), ("on", MOODS[mood])):
            student.say = say
            with open_load(running.port, rate) as load:
                wait_until(lambda load=load: load.sent >= rate * seconds, seconds + 60)
            ledger.seen += load.seen
            assert all(seen.complete and seen.status == 200 for seen in load.seen)
            row.note(**{f"p99_{name}_ms": percentile([seen.seconds for seen in load.seen], 0.99)})
        accounted(running, len(ledger.seen))


@contextmanager
def shadowed(folder: Path) -> Iterator[tuple[Running, object, WireStudent]]:
    """A gateway, its teacher, and a student of our own on the socket, in shadow."""
    with ExitStack() as stack:
        control = open_control_file(folder)
        stack.callback(control.dispose)
        tiny = tiny_artifact(folder, CLASSES, task=TASK)
        register(control, tiny, task=TASK, stage=Stage.SHADOW)
        student = WireStudent()
        stack.enter_context(student_at(socket_path(folder), student))
        teacher = stack.enter_context(nginx_teacher(folder / "teacher"))
        running = stack.enter_context(gateway(folder, teacher.url))
        running.predict("connect")
        wait_until(lambda: running.metrics()["stillgate_shadow_answers_total"] == 1)
        yield running, teacher, student


def accounted(running: Running, requests: int) -> None:
    """Every recorded exchange was answered by the student, or its shadow is counted as dropped."""

    def all_told() -> bool:
        metrics = running.metrics()
        dropped = sum(
            value for name, value in metrics.items() if name.startswith("stillgate_shadow_dropped_total")
        )
        return metrics["stillgate_shadow_answers_total"] + dropped >= requests

    wait_until(all_told, 60)


@pytest.mark.row("L7")
def test_student_killed_every_second(row: Row, tmp_path: Path) -> None:
    """The real student process is killed and started again and again: no caller notices."""
    kills = sized(2, 15, 60)
    row.size = f"{kills} kills"
    control = open_control_file(tmp_path)
    tiny = tiny_artifact(tmp_path, CLASSES, task=TASK)
    register(control, tiny, task=TASK, stage=Stage.SHADOW)
    with (
        nginx_teacher(tmp_path / "teacher") as teacher,
        gateway(tmp_path, teacher.url) as running,
        promises(row, running, teacher) as ledger,
    ):
        with open_load(running.port, 50) as load:
            for _ in range(kills):
                answered = running.metrics()["stillgate_shadow_answers_total"]
                with student_process(tmp_path) as student:
                    wait_until(
                        lambda answered=answered: (
                            running.metrics()["stillgate_shadow_answers_total"] > answered
                        ),
                        60,
                    )
                    time.sleep(row.rng.uniform(0, 0.5))
                    os.kill(student.pid, signal.SIGKILL)
        ledger.seen = load.seen
        accounted(running, len(load.seen))
    assert all(seen.complete and seen.status == 200 for seen in load.seen)
    row.note(p99_ms=percentile([seen.seconds for seen in load.seen], 0.99))
    control.dispose()
