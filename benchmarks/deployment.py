"""Our side of a run: `stillgate up` as anybody starts it, with small students whose cost is known."""

import os
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import Engine

from benchmarks.processes import end, free_ports, wait_for, wait_until_listening
from benchmarks.processor import processor_seconds
from benchmarks.traffic import CLASSES, CLASSIFICATION
from ledger.clock import now_us
from ledger.control_file import open_control_file, transaction
from ledger.cursors import cursor
from ledger.exchange_file import exchange_path, reading
from ledger.stages import Stage, task_stages
from ledger.tables import HeartbeatRow
from tests.artifacts import register, set_stage, tiny_artifact

TASK = "topics"
GATEWAY = "g0"
SETTLE_SECONDS = 120.0
_ROOT = Path(__file__).parents[1]
DROPS = ("stillgate_exchanges_dropped_total", "stillgate_shadow_dropped_total")

_CONFIGURATION = """
[deployment]
name = "benchmark"
data_directory = "{data_directory}"

[gateway]
name = "{gateway}"
listen = "127.0.0.1:{ports[0]}"
operations_listen = "127.0.0.1:{ports[1]}"

[control]
listen = "127.0.0.1:{ports[2]}"

[monitor]
listen = "127.0.0.1:{ports[3]}"

[[task]]
name = "{task}"
classes = ["cats", "dogs", "birds"]
dialect = "huggingface"
paths = ["{path}"]
teacher = {{ url = "http://127.0.0.1:{teacher}", version = "1" }}
capture = {{ inputs = "text" }}
trigger = {{ launch = false }}
governance = {{ owner = "a", sponsor = "b", driver = "c", validator = "d", operator = "e" }}
slice = [{{ name = "words", words = [5, 20] }}, {{ name = "answer", teacher_class = true }}]
"""

Counters = Mapping[tuple[str, str], float]  # (metric, value of its only label or "") -> value


@dataclass(frozen=True, slots=True)
class Deployment:
    """A running `stillgate up`."""

    port: int
    operations_port: int
    supervisor: int  # pid
    data_directory: Path
    control: Engine
    students: Mapping[str, str]  # our name for it -> artifact

    def pids(self) -> dict[str, int]:
        """The supervised processes that run now, by name."""
        files = sorted((self.data_directory / "run").glob("*.pid"))
        return {file.stem: int(text) for file in files if (text := _text(file)).strip().isdigit()}

    def pid_of(self, name: str) -> int:
        """Of a process that may be about to start."""
        self.wait_until(lambda: name in self.pids(), f"{name} does not run")
        return self.pids()[name]

    def processor_seconds(self) -> dict[str, float]:
        """Of every process since its start; what was restarted is with the supervisor, who reaped it."""
        named = {name: processor_seconds(pid) for name, pid in self.pids().items()}
        return {**named, "supervisor": processor_seconds(self.supervisor) - sum(named.values())}

    def counters(self) -> Counters:
        """The gateway's own metrics."""
        url = f"http://127.0.0.1:{self.operations_port}/metrics"
        with urllib.request.urlopen(url, timeout=10) as response:
            families = text_string_to_metric_families(response.read().decode())
        return {
            (one.name, next(iter(one.labels.values()), "")): one.value
            for family in families
            for one in family.samples
            if len(one.labels) <= 1
        }

    def grown(self, since: Counters, counter: tuple[str, str]) -> float:
        return self.counters().get(counter, 0.0) - since.get(counter, 0.0)

    def shadow(self, student: str | None) -> None:
        """Let this student answer in shadow and no other; None: shadow off. Waits until it is so."""
        with transaction(self.control) as session:
            stages = task_stages(session, TASK).stages
        for name, artifact in self.students.items():
            wanted = Stage.SHADOW if name == student else Stage.RETIRED
            if stages.get(artifact, (None, 0.0))[0] != wanted:
                set_stage(self.control, artifact, wanted)
        self.wait_until(lambda: self._obeyed(student), f"shadow {student} has not begun")

    def wait_until_settled(self) -> None:
        """Everything written, answered, and the parts that the run needs back at work."""
        try:
            self.wait_until(lambda: not self._unsettled(), "the gateway has not settled")
        except RuntimeError as error:
            raise RuntimeError(f"{error}: {self._unsettled()}") from None

    def wait_until_student_is_back(self) -> None:
        """Wait for a sign of life that is younger than this call."""
        since = now_us()

        def back() -> bool:
            with transaction(self.control) as session:
                beat = session.get(HeartbeatRow, "student")
                return beat is not None and beat.at_us > since and bool(beat.report["loaded"])

        self.wait_until(back, "the student is not back")

    def wait_until(self, condition: Callable[[], bool], otherwise: str) -> None:
        def holds() -> bool:
            try:
                return condition()
            except OSError:  # its operations port is busy
                return False

        wait_for(holds, f"{otherwise} (logs: {self.data_directory / 'logs'})", SETTLE_SECONDS)

    def counts(self) -> tuple[int, int]:
        """Recorded exchanges and shadow answers so far, read from the file: a scrape would cost the gateway."""
        with reading(exchange_path(self.data_directory, GATEWAY)) as connection:
            (exchanges,) = connection.execute("SELECT count(*) FROM exchange").fetchone()
            (answers,) = connection.execute("SELECT count(*) FROM answer").fetchone()
        return exchanges, answers

    def monitor_is_behind(self) -> bool:
        """Whether answers wait for the monitor."""
        with reading(exchange_path(self.data_directory, GATEWAY)) as connection:
            (last,) = connection.execute("SELECT coalesce(max(number), 0) FROM answer").fetchone()
        with transaction(self.control) as session:
            return cursor(session, "monitor", f"answers:{GATEWAY}") < int(last)

    def _obeyed(self, student: str | None) -> bool:
        with transaction(self.control) as session:
            revision = task_stages(session, TASK).revision
            beat = session.get(HeartbeatRow, "student")
        obeyed = self.counters().get(("stillgate_stage_revision", TASK)) == revision
        loaded = student is None or (beat is not None and self.students[student] in beat.report["loaded"])
        return obeyed and loaded

    def _unsettled(self) -> dict[str, float]:
        """What still waits or does not work. A student that nobody asks may be unconnected."""
        counters = self.counters()
        waiting = ("exchanges_pending", "record_queue_bytes", "shadow_queue_inputs")
        keys = [(f"stillgate_{name}", "") for name in waiting]
        keys += [("stillgate_degraded", part) for part in ("store", "control")]
        return {" ".join(key).strip(): counters[key] for key in keys if counters.get(key)}


@contextmanager
def running_deployment(
    folder: Path,
    teacher: int,
    students: Mapping[str, int],
    *,
    data_directory: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Deployment]:
    """Everything of a deployment, shadow off; `students` maps names to their rounds of work (0: none)."""
    ports = free_ports(4)
    data_directory = data_directory or folder / "state"
    path = folder / "stillgate.toml"
    path.write_text(
        _CONFIGURATION.format(
            data_directory=data_directory,
            gateway=GATEWAY,
            ports=ports,
            task=TASK,
            path=CLASSIFICATION.path,
            teacher=teacher,
        )
    )
    control = open_control_file(data_directory)
    artifacts = {name: _student(control, data_directory, rounds) for name, rounds in students.items()}
    command = [sys.executable, "-m", "stillgate", "up", "--config", str(path)]
    with (folder / "stillgate.log").open("wb") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=log, env={**os.environ, **(environment or {})}, cwd=_ROOT
        )
    try:
        for port in ports:
            wait_until_listening(process, port)
        deployment = Deployment(ports[0], ports[1], process.pid, data_directory, control, artifacts)
        deployment.wait_until_settled()
        yield deployment
    finally:
        end(process)
        control.dispose()


def drops_between(before: Counters, after: Counters) -> dict[str, int]:
    """What was dropped meanwhile, by reason: exchanges as they are, shadow answers with `shadow` before them."""
    kinds = {DROPS[0]: "record", DROPS[1]: "shadow"}
    return {
        f"{kinds[name]} {reason}": round(value - before.get((name, reason), 0.0))
        for (name, reason), value in sorted(after.items())
        if name in kinds and value > before.get((name, reason), 0.0)
    }


def account(counters: Counters) -> tuple[int, int, int, int]:
    """requests, recorded, dropped, pending; the first is the sum of the others."""
    requests, recorded, pending = (
        round(counters[f"stillgate_{name}", ""])
        for name in ("requests_total", "exchanges_recorded_total", "exchanges_pending")
    )
    dropped = sum(value for (name, _), value in counters.items() if name == DROPS[0])
    return requests, recorded, round(dropped), pending


def _student(control: Engine, data_directory: Path, rounds: int) -> str:
    tiny = tiny_artifact(data_directory, CLASSES, task=TASK, busy_rounds=rounds, seed=rounds)
    register(control, tiny, task=TASK, stage=Stage.RETIRED)
    return tiny.artifact


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except FileNotFoundError:  # it ends just now
        return ""
