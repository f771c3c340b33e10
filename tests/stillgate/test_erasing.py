"""`stillgate erase` against a real gateway and a real control process, down to the bytes of their files."""

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import orjson
import pytest
from click.testing import Result
from sqlmodel import select

from ledger.control_file import open_control_file, transaction
from ledger.erasures import unfinished_erasures
from ledger.input_digests import digest_of
from ledger.job_folders import job_folder, read_lists, write_rows, write_whole
from ledger.jobs import JobStatus
from ledger.subjects import KEY_FILE, known_subject_key, pseudonym
from ledger.tables import AuditRow, JobRow, StudentRow
from stillgate.supervisor import accepts
from tests.gateway.control.desk import Desk, people_with_keys
from tests.gateway.running import (
    Running,
    read_exchanges,
    start_gateway_on,
    wait_until,
    write_configuration,
)
from tests.gateway.teachers import TeacherApp, serving
from tests.ports import free_port
from tests.stillgate.command import run, run_as

HERS, HIS = "anna@example.com", "ben"
SECRET = "the billing of my late aunt"
CAPTURE = 'text"\nredact = []\nsubject_header = "X-User-Id'


@dataclass
class Deployment:
    """A gateway and a control process over one data directory; either may be killed and started again."""

    config: Path
    directory: Path
    ports: tuple[int, int]
    control_address: str
    keys: dict[str, str]
    gateway: Running
    control: "subprocess.Popen[bytes]"

    def erase(self, *arguments: str, task: str = "desk", given: str = "") -> Result:
        config = ("--config", str(self.config))
        return run("erase", "--task", task, *arguments, *config, given=given, key=self.keys["olga"])

    def holding(self, wanted: str) -> list[str]:
        """Files below the data directory whose bytes hold it."""
        files = (path for path in self.directory.rglob("*") if path.is_file())
        return sorted(path.name for path in files if wanted.encode() in path.read_bytes())

    def kill(self) -> None:
        self.gateway.kill()
        self.control.kill()
        self.control.wait()

    def start(self) -> None:
        self.gateway = start_gateway_on(self.directory, self.config, *self.ports)
        self.control = start_control(self.config, self.control_address)


def start_control(config: Path, address: str) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "gateway.control", "--config", str(config)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    wait_until(lambda: accepts(address))
    return process


@pytest.fixture
def deployment(tmp_path: Path) -> Iterator[Deployment]:
    """The folder of its configuration is its data directory: what its processes say lies there too."""
    address = f"127.0.0.1:{free_port()}"
    with serving(TeacherApp()) as url:
        control = f'[control]\nlisten = "{address}"'
        path, *ports = write_configuration(tmp_path, url, capture=CAPTURE, gateway=control)
        engine = open_control_file(tmp_path)
        keys = people_with_keys(engine)
        engine.dispose()
        gateway = start_gateway_on(tmp_path, path, *ports)
        process = start_control(path, address)
        found = Deployment(path, tmp_path, (ports[0], ports[1]), address, keys, gateway, process)
        yield found
        found.kill()


def predict(gateway: Running, text: str, user: str, area: str = "north") -> str:
    reply = gateway.predict(text, x_user_id=user, x_area=area)
    assert reply.status == 200
    return reply.header("x-stillgate-exchange") or ""


def trained_student(directory: Path, texts: dict[str, list[str]]) -> int:
    """A finished job that read these texts, by part, with its student."""
    engine = open_control_file(directory)
    with transaction(engine) as session:
        job = JobRow(
            task="desk", cause="by_hand", opened_by="dora", opened_at_us=1, finished_at_us=2,
            status=JobStatus.SUCCEEDED, artifact="s-1",
        )  # fmt: skip
        session.add(job)
        session.flush()
        assert job.id is not None
        session.add(
            StudentRow(
                artifact="s-1",
                task="desk",
                job_id=job.id,
                parent=None,
                registered_at_us=2,
                manifest_digest="0",
                kind="static",
                gate_outcome="pass",
            )
        )
    engine.dispose()
    folder = job_folder(directory, job.id)
    folder.mkdir(parents=True)
    digests = {part: [digest_of(text) for text in of_part] for part, of_part in texts.items()}
    write_whole(folder / "gate.lock.json", {"task": "desk", "rows": dict.fromkeys(digests.pop("gate"))})
    write_rows(folder, digests)
    return job.id


def test_nothing_of_a_subject_is_left(deployment: Deployment) -> None:
    """Texts, attributes, digests and pseudonym are in no file; numbers, other people's rows and the sums stay."""
    gateway, directory = deployment.gateway, deployment.directory
    for number in range(5):
        predict(gateway, f"{SECRET} {number}", HERS, "my-own-area")
        predict(gateway, f"his billing {number}", HIS)
    predict(gateway, f"{SECRET} 4", HIS)  # he asked the same once
    gateway.settled()
    job = trained_student(
        directory, {"gate": [f"{SECRET} 0", "x"], "train": [f"{SECRET} 1", f"{SECRET} 4", "y"], "dev": []}
    )
    assert deployment.holding(f"{SECRET} 1") != []
    name = pseudonym(known_subject_key(directory) or b"", "desk", HERS.encode())
    assert (directory / KEY_FILE).stat().st_mode & 0o777 == 0o600

    erased = deployment.erase("--subject", HERS, "--yes")

    assert (erased.exit_code, erased.stdout.splitlines()[0]) == (0, "erasure 1: 5 exchanges erased"), erased
    assert "student s-1: trained on 2 and judged on 1 rows that were erased" in erased.stdout
    assert "Backups made before now still hold them" in erased.stderr
    for gone in (HERS, "my-own-area", *(f"{SECRET} {n}" for n in range(4)), digest_of(f"{SECRET} 0")):
        assert deployment.holding(gone) == [], gone
    assert deployment.holding(name) == ["control.sqlite"]  # the erasure and the audit log
    assert deployment.holding("his billing 3") != []
    lists = read_lists(job_folder(directory, job))
    assert lists.training == {digest_of(f"{SECRET} 4"), digest_of("y")}  # his row too
    assert orjson.loads((job_folder(directory, job) / "gate.lock.json").read_bytes())["erased"]["rows"] == 1
    exchanges = read_exchanges(directory)
    assert [one.inputs for one in exchanges[:10:2]] == [("",)] * 5
    assert all(one.teacher and one.input_words == (7,) for one in exchanges[:10:2])
    accounts = gateway.settled()
    assert (accounts["requests"], accounts["recorded"]) == (11, 11)

    assert run("audit", "verify", "--config", str(deployment.config)).exit_code == 0
    engine = open_control_file(directory)
    with transaction(engine) as session:
        rows = session.exec(select(AuditRow).where(AuditRow.action == "erasure_done")).all()
    engine.dispose()
    assert [(row.actor, row.details["exchanges"], row.details["subject"]) for row in rows] == [
        ("olga", 5, name)
    ]
    status = run("status", "--config", str(deployment.config), key=deployment.keys["vera"])
    assert "trained on 2 and judged on 1 rows that were erased" in status.stdout
    again = deployment.erase("--subject", HERS, "--yes")
    assert (again.exit_code, "holds nothing of it" in again.stderr) == (1, True)


def test_traffic_goes_on(deployment: Deployment) -> None:
    """Callers are answered while it is carried out; what the subject sends afterwards is kept."""
    gateway, stop, statuses = deployment.gateway, threading.Event(), list[int]()
    predict(gateway, SECRET, HERS)

    def call() -> None:
        while not stop.is_set():
            statuses.append(gateway.predict("his billing", x_user_id=HIS).status)

    caller = threading.Thread(target=call)
    caller.start()
    try:
        assert deployment.erase("--subject", "-", "--yes", given=f" {HERS} \n").exit_code == 0
    finally:
        stop.set()
        caller.join()
    predict(gateway, f"{SECRET} again", HERS)
    accounts = gateway.settled()
    assert set(statuses) == {200}
    assert accounts["recorded"] == accounts["requests"] == len(statuses) + 2
    texts = [one.inputs for one in read_exchanges(deployment.directory)]
    assert (texts[0], texts[-1]) == (("",), (f"{SECRET} again",))
    assert texts.count(("his billing",)) == len(statuses)


def test_single_exchanges(deployment: Deployment) -> None:
    """By their ids, whoever sent them; those of another task, or of nobody, are none of it."""
    first = predict(deployment.gateway, f"{SECRET} 1", HERS)
    second = predict(deployment.gateway, f"{SECRET} 2", HERS)
    deployment.gateway.settled()
    counted = deployment.erase("--exchange", first, "--exchange", "g7-1", "--dry-run")
    assert (counted.exit_code, counted.stdout) == (0, "1 exchange of task desk would be erased\n")
    assert deployment.erase("--exchange", first, "--dry-run", task="wire").exit_code == 1
    assert deployment.erase("--exchange", first, given="n\n").exit_code == 1
    assert deployment.holding(f"{SECRET} 1") != []
    erased = deployment.erase("--exchange", first, given="y\n")
    assert (erased.exit_code, "1 exchange erased" in erased.stdout) == (0, True)
    assert deployment.holding(f"{SECRET} 1") == []
    assert deployment.holding(f"{SECRET} 2") != []
    assert deployment.erase("--exchange", first, "--yes").exit_code == 1
    assert second.startswith("g0-")


@pytest.mark.parametrize(
    ("arguments", "exit_code", "said"),
    [
        ((), 2, "exactly one of --subject"),
        (("--subject", "a", "--exchange", "g0-1"), 2, "exactly one of --subject"),
        (("--exchange", "17"), 2, "no exchange id such as g0-17"),
        (("--subject", " "), 2, "subject"),
        (("--subject", "\udcff"), 2, "no UTF-8"),
        (("--subject", "nobody", "--task", "nix"), 2, "there is no task 'nix'"),
        (("--subject", "nobody", "--task", "topics", "--yes"), 6, "no capture.subject_header"),
    ],
)
def test_what_cannot_be_erased_is_said(
    desk: Desk, arguments: tuple[str, ...], exit_code: int, said: str
) -> None:
    """With the exit code of its kind; nothing is opened."""
    refused = run_as(desk, "olga", "erase", "--task", "topics", *arguments)
    assert (refused.exit_code, said in refused.stderr) == (exit_code, True), refused.stderr
    assert desk.task()["erasures"] == []


def test_only_operators_erase(desk: Desk) -> None:
    """Neither viewers nor validators."""
    for person in ("vera", "pete"):
        assert run_as(desk, person, "erase", "--task", "topics", "--exchange", "g0-1").exit_code == 5


def test_an_erasure_outlives_its_processes(deployment: Deployment) -> None:
    """Asked for while the gateway hangs: 3, and who is waited for. Both killed, it is done after their next start."""
    for number in range(3):
        predict(deployment.gateway, f"{SECRET} {number}", HERS)
    deployment.gateway.settled()
    deployment.gateway.process.send_signal(signal.SIGSTOP)
    late = deployment.erase("--subject", HERS, "--yes", "--timeout", "1")
    assert (late.exit_code, "waits for gateway g0" in late.stderr) == (3, True)
    status = run("status", "--config", str(deployment.config), key=deployment.keys["vera"])
    assert "erasure 1 is not done yet: step record" in status.stdout
    deployment.kill()
    deployment.start()
    engine = open_control_file(deployment.directory)

    def is_done() -> bool:
        with transaction(engine) as session:
            return not unfinished_erasures(session)

    wait_until(is_done)
    engine.dispose()
    assert deployment.holding(SECRET) == []
    assert deployment.erase("--subject", HERS, "--yes").exit_code == 1


def test_a_backup_keeps_who_is_who(deployment: Deployment, tmp_path: Path) -> None:
    """With its key, so that people can be found in what is restored; readable by its owner alone."""
    predict(deployment.gateway, SECRET, HERS)
    deployment.gateway.settled()
    target = tmp_path / "backup"
    assert run("backup", str(target), "--config", str(deployment.config)).exit_code == 0
    assert (target / KEY_FILE).read_bytes() == (tmp_path / KEY_FILE).read_bytes()
    assert (target / KEY_FILE).stat().st_mode & 0o777 == 0o600
