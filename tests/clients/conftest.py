"""A teacher that speaks, a gateway process and a student process with real ONNX students, once for all clients."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import Engine

from ledger.control_file import open_control_file, transaction
from ledger.exchange import Exchange, ServedBy
from ledger.heartbeats import leave_heartbeat
from ledger.slices import OVERALL
from ledger.stages import Stage
from tests.artifacts import register, set_stage, tiny_artifact
from tests.clients.teacher import SpeakingTeacher
from tests.gateway.running import Running, ended, start_gateway_on, wait_until
from tests.gateway.teachers import CLASSES, serving
from tests.ports import free_port
from tests.student.conftest import student_report

LABELS = 'labels = { "Billing" = "billing", "Shipping" = "shipping", "Other" = "other" }'
TASKS = {
    "hub": ('dialect = "huggingface"\npaths = ["/classify"]', ""),
    "wire": (
        'dialect = "open-inference"\npaths = ["/v2/models/desk/infer", "/v2/models/desk/versions/7/infer"]',
        "",
    ),
    "chat": (
        'dialect = "openai-chat"\npaths = ["/v1/chat/completions"]',
        f'[task.openai]\nmodels = ["small"]\n{LABELS}',
    ),
    "chat_with_logprobs": (
        'dialect = "openai-chat"\npaths = ["/asking/v1/chat/completions"]',
        f'[task.openai]\nmodels = ["small"]\nrequest_logprobs = true\n{LABELS}',
    ),
}
TASK = """
[[task]]
name = "{name}"
classes = {classes}
{dialect}
[task.teacher]
url = "{teacher}"
version = "7"
[task.capture]
inputs = "text"
[task.fallback]
audit_share = 0.5
{section}
[task.governance]
owner = "o"
sponsor = "s"
driver = "d"
validator = "v"
operator = "p"
"""
HEAD = """
[deployment]
name = "clients"
data_directory = "{directory}"
[gateway]
listen = "127.0.0.1:{port}"
operations_listen = "127.0.0.1:{operations_port}"
[monitor]
stale_seconds = 600
[student]
inline_deadline_seconds = 5
"""


@dataclass
class Deployment:
    """What the clients talk to, in the stage that `serves` tells."""

    running: Running
    teacher: SpeakingTeacher
    control: Engine
    artifacts: dict[str, str]
    serves: ServedBy = ServedBy.TEACHER

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.running.port}"

    def last(self) -> Exchange:
        """The exchange of the last request, once it is written and its form is known."""
        self.running.settled()
        return self.running.exchanges()[-1]

    def enter(self, stage: Stage) -> None:
        for task, artifact in self.artifacts.items():
            revision = set_stage(self.control, artifact, stage, 1.0, task=task)
            name = f'stillgate_stage_revision{{task="{task}"}}'
            wait_until(lambda: self.running.metrics().get(name) == revision)  # noqa: B023  # waited for at once
        self.serves = ServedBy.STUDENT


@pytest.fixture(scope="session")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """Every task in shadow."""
    directory = tmp_path_factory.mktemp("clients")
    with ExitStack() as stack:
        teacher = SpeakingTeacher()
        url = stack.enter_context(serving(teacher))
        path, port, operations_port = configured(directory, url)
        control = open_control_file(directory)
        stack.callback(control.dispose)
        artifacts = {}
        for seed, task in enumerate(TASKS):
            tiny = tiny_artifact(
                directory, CLASSES, task=task, thresholds={OVERALL: 0.6}, teacher_epoch="7", seed=seed
            )
            register(control, tiny, task=task, stage=Stage.SHADOW)
            artifacts[task] = tiny.artifact
        with transaction(control) as session:
            leave_heartbeat(session, "monitor", {})
        with (directory / "student.log").open("wb") as log:
            student = subprocess.Popen(
                [sys.executable, "-m", "student", "--config", str(path)], stdout=log, stderr=log
            )
        stack.callback(student.wait, 20)
        stack.callback(student.terminate)
        running = stack.enter_context(ended(start_gateway_on(directory, path, port, operations_port)))
        wait_until(lambda: set(student_report(control)["loaded"]) == set(artifacts.values()))
        yield Deployment(running, teacher, control, artifacts)


def configured(directory: Path, teacher: str) -> tuple[Path, int, int]:
    """A configuration file with every task, and the ports that it names."""
    port, operations_port = free_port(), free_port()
    tasks = [
        TASK.format(name=name, classes=list(CLASSES), dialect=dialect, section=section, teacher=teacher)
        for name, (dialect, section) in TASKS.items()
    ]
    head = HEAD.format(directory=directory, port=port, operations_port=operations_port)
    path = directory / "stillgate.toml"
    path.write_text(head + "".join(tasks))
    return path, port, operations_port


@pytest.fixture(scope="session", params=["shadow", "full"])
def deployment(request: pytest.FixtureRequest, started: Deployment) -> Deployment:
    """In shadow first, then with the students serving."""
    if request.param == "full":
        started.enter(Stage.FULL)
    return started
