"""A deployment with one task, people with keys, students with pairs, and its real admin API on a free port."""

import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI
from sqlalchemy import Engine

from gateway.control.app import create_app
from ledger.certificates import VoidCause
from ledger.configuration import Configuration, load
from ledger.control_file import transaction
from ledger.heartbeats import leave_heartbeat
from ledger.jobs import JobCause
from ledger.keys import Role, create_key
from ledger.stages import Stage
from ledger.tables import AlarmRow, CertifiedSliceRow, JobRow, SumsRow
from monitor.reports import WHOLE_LIFE
from monitor.sums import SliceSums
from tests.artifacts import register, tiny_artifact
from tests.ports import free_ports

TASK = "topics"
CLASSES = ("Sports", "Business")
PEOPLE = {"vera": Role.VIEWER, "olga": Role.OPERATOR, "pete": Role.VALIDATOR, "ada": Role.ADMIN}
DEADLINE_SECONDS = 15.0
NO_AUTHORITIES = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # loading them takes longer than most tests here

CONFIGURATION = """
[deployment]
name = "news"
data_directory = "data"
[gateway]
listen = "127.0.0.1:{ports[0]}"
operations_listen = "127.0.0.1:{ports[1]}"
drain_seconds = 1
[control]
listen = "127.0.0.1:{ports[2]}"
[monitor]
listen = "127.0.0.1:{ports[3]}"
tick_seconds = 0.5
window_seconds = 6
stale_seconds = 60
[[task]]
name = "topics"
classes = ["Sports", "Business"]
dialect = "huggingface"
paths = ["/classify"]
[task.teacher]
url = "http://127.0.0.1:{ports[4]}"
version = "1"
[task.capture]
inputs = "text"
[[task.slice]]
name = "area"
header = "x-area"
critical = true
bar = 0.85
[[task.candidate]]
kind = "static"
encoder = "nowhere"
[task.gate]
bar = 0.8
rows = 100
slice_rows = 50
[task.licence]
distillation_allowed = true
decided_by = "olga"
decided_on = "2026-01-02"
terms = "ours"
[task.fairness]
none_because = "no people"
declared_by = "olga"
declared_on = 2026-01-02
[task.governance]
owner = "owen"
sponsor = "sam"
driver = "dora"
validator = "pete"
operator = "olga"
"""


def write_configuration(folder: Path, text: str = CONFIGURATION) -> Path:
    path = folder / "stillgate.toml"
    path.write_text(text.format(ports=free_ports(5)))
    return path


@dataclass(frozen=True, slots=True)
class Desk:
    """One deployment; `ask` speaks to its admin API as one of PEOPLE."""

    path: Path  # of stillgate.toml
    configuration: Configuration
    engine: Engine
    keys: Mapping[str, str]
    url: str

    @property
    def data_directory(self) -> Path:
        return self.configuration.deployment.data_directory

    def ask(self, person: str, method: str, path: str, body: Any = None) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.keys[person]}"} if person else {}
        with httpx.Client(trust_env=False, timeout=20, verify=NO_AUTHORITIES) as client:
            return client.request(method, self.url + path, json=body, headers=headers)

    def propose(self, person: str = "olga", stage: str = "canary", **changes: Any) -> httpx.Response:
        body = {"stage": stage, "expected_revision": self.revision(), "reason": "it is good"} | changes
        return self.ask(person, "POST", f"/api/v1/tasks/{TASK}/promotions", body)

    def approve(self, proposal: int, person: str = "pete") -> httpx.Response:
        return self.ask(person, "POST", f"/api/v1/promotions/{proposal}/approve", {"reason": "I looked"})

    def descend(self, verb: str, person: str = "olga") -> httpx.Response:
        return self.ask(person, "POST", f"/api/v1/tasks/{TASK}/{verb}", {"reason": "too bad"})

    def task(self) -> dict[str, Any]:
        document: dict[str, Any] = self.ask("vera", "GET", "/api/v1/status").json()
        task: dict[str, Any] = document["tasks"][0]
        return task

    def revision(self) -> int:
        return int(self.task()["revision"])

    def stages(self) -> dict[str, str]:
        return {student["artifact"]: student["stage"] for student in self.task()["students"]}

    def promote_to_canary(self, **changes: Any) -> None:
        """Both persons at once, as a step on the way to what a test is about."""
        proposal = self.propose(**changes)
        assert proposal.status_code == 201, proposal.text
        approved = self.approve(proposal.json()["id"])
        assert approved.status_code == 200, approved.text


def people_with_keys(engine: Engine) -> dict[str, str]:
    with transaction(engine) as session:
        return {person: create_key(session, person, role, "test") for person, role in PEOPLE.items()}


def add_student(
    engine: Engine,
    data_directory: Path,
    seed: int = 1,
    stage: Stage | None = Stage.SHADOW,
    opened_by: str = "dora",
    cause: JobCause = JobCause.BY_HAND,
    thresholds: Mapping[str, float] | None = None,
) -> str:
    """A registered student with files, the job that trained it, and by default a place in shadow."""
    tiny = tiny_artifact(data_directory, CLASSES, task=TASK, seed=seed, thresholds=thresholds)
    with transaction(engine) as session:
        job = JobRow(
            task=TASK,
            cause=cause,
            opened_by=opened_by,
            opened_at_us=1_700_000_000_000_000,
            finished_at_us=1_700_000_060_000_000,
            status="succeeded",
            artifact=tiny.artifact,
        )
        session.add(job)
        session.flush()
        assert job.id is not None
        number = job.id
    register(engine, tiny, task=TASK, stage=stage, job_id=number)
    return tiny.artifact


def give_pairs(engine: Engine, artifact: str, slices: Mapping[str, tuple[int, int]]) -> None:
    """Set the live (pairs, agreements) of each slice, and let the monitor be alive."""
    with transaction(engine) as session:
        for name, (pairs, agreements) in slices.items():
            sums = SliceSums(pairs=pairs, agreements=agreements).to_json()
            session.merge(
                SumsRow(task=TASK, artifact=artifact, slice=name, window_start_us=WHOLE_LIFE, sums=sums)
            )
        leave_heartbeat(session, "monitor", {})


CAUSE: dict[str, Any] = {
    "format": 1,
    "summary": "the teacher changed: version 2 answers since 2023-11-14T22:10:00+00:00; before it version 1",
    "moved": ["teacher"],
    "change_us": 1_699_999_800_000_000,
    "findings": [
        {"source": "teacher", "outcome": "moved", "sentence": "the teacher changed", "evidence": {}},
        {"source": "input", "outcome": "still", "sentence": "nothing of the input moved", "evidence": {}},
    ],
    "window": {
        "since_us": 1_699_999_800_000_000,
        "until_us": 1_700_000_000_000_000,
        "rows": 120,
        "is_least": False,
        "wanted": 667,
        "suffices": False,
        "enough_at_us": 1_700_000_911_666_667,
        "sentence": "120 rows of area=eu since the change; 667 are wanted",
    },
    "problems": [],
}


def raise_alarm(engine: Engine, artifact: str, slice_name: str = "area=eu") -> int:
    with transaction(engine) as session:
        alarm = AlarmRow(
            task=TASK,
            slice=slice_name,
            artifact=artifact,
            at_us=1_700_000_000_000_000,
            decision="launch_off",
            receipt={"m0": 0.1},
            cause=CAUSE,
        )
        session.add(alarm)
        session.flush()
        assert alarm.id is not None
        return alarm.id


def void(engine: Engine, artifact: str, line: str) -> None:
    """What the monitor writes down when pairs above a threshold refute it."""
    with transaction(engine) as session:
        session.add(
            CertifiedSliceRow(
                task=TASK,
                artifact=artifact,
                slice=line,
                certified_at_us=1_700_000_000_000_000,
                voided_at_us=1_700_000_000_000_000,
                cause=VoidCause.AUDIT,
                reason="9 of 30 disagreed",
                state={},
            )
        )


@contextmanager
def serving(
    configuration: Configuration, engine: Engine, port: int = 0, app: FastAPI | None = None
) -> Iterator[str]:
    """The real application behind a real server in a thread; yields its URL."""
    application = app or create_app(configuration, engine)
    settings = uvicorn.Config(application, host="127.0.0.1", port=port, log_config=None, lifespan="off")
    server = uvicorn.Server(settings)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_until(lambda: server.started)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


def wait_until(condition: Callable[[], object], seconds: float = DEADLINE_SECONDS) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"{condition} was not true within {seconds} s"
        time.sleep(0.01)


def load_from(folder: Path) -> tuple[Path, Configuration]:
    path = write_configuration(folder)
    return path, load(path)
