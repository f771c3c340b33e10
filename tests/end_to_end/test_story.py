"""The operator's story through real processes: record, shadow, canary, full, drift, alarm, demotion."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator

import httpx
import pytest

from ledger.control_file import open_control_file
from ledger.stages import Stage
from tests.artifacts import register, tiny_artifact
from tests.end_to_end.keyword_teacher import CLASSES
from tests.end_to_end.running import TASK, Running, deployment, wait_for

FORBIDDEN = 5  # exit code: role or second person
KEYWORDS = {"alpha": ("alpha", 0.9), "beta": ("beta", 0.9), "twist": ("alpha", 0.999)}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One deployment; the tests below are the chapters of one story, in order."""
    with deployment(tmp_path_factory.mktemp("story")) as running:
        running.make_keys()
        yield running


@pytest.fixture(scope="module")
def artifact(running: Running) -> str:
    """A student that agrees with the teacher at home and is fooled by the word `twist`."""
    tiny = tiny_artifact(
        running.data, CLASSES, task=TASK, keywords=KEYWORDS, thresholds={"all": 0.6, "area=home": 0.6}
    )
    control = open_control_file(running.data)
    register(control, tiny, task=TASK, stage=None)
    control.dispose()
    return tiny.artifact


def stillgate(running: Running, role: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "stillgate",
            *arguments,
            "--config",
            str(running.folder / "stillgate.toml"),
        ],
        env={**os.environ, "STILLGATE_KEY": running.keys[role], "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=60,
    )


def stage_of(running: Running, artifact: str) -> str:
    students = running.task()["students"]
    return next((str(one["stage"]) for one in students if one["artifact"] == artifact), "")


def send(running: Running, count: int, area: str, word: str = "") -> list[str]:
    """Who served each of so many different requests."""
    served = []
    with httpx.Client() as client:
        for number in range(count):
            text = f"{word} {number} {time.monotonic_ns()} {CLASSES[number % 2]}"
            response = running.ask(text, area, client)
            assert response.status_code == 200
            assert response.json()[0]["label"] == CLASSES[number % 2] or word
            served.append(response.headers["x-stillgate-served-by"])
    return served


def test_1_without_a_student_everything_is_recorded(running: Running) -> None:
    """The teacher serves, and each request becomes an exchange."""
    before = running.accounts()["recorded"]

    assert set(send(running, 20, "home")) == {"teacher"}

    wait_for(lambda: running.accounts()["recorded"] == before + 20, "twenty exchanges")


def test_2_a_registered_student_enters_shadow_by_itself(running: Running, artifact: str) -> None:
    """It answers beside the teacher, callers still get the teacher, and the monitor pairs the two."""
    wait_for(lambda: stage_of(running, artifact) == Stage.SHADOW, "the student is in shadow")
    wait_for(lambda: send(running, 1, "home") and running.answers_of(artifact) > 0, "it answers")

    assert set(send(running, 120, "home")) == {"teacher"}

    wait_for(lambda: pairs_of(running, "area=home") >= 120, "the monitor has the pairs")
    assert fidelity_of(running, "area=home") == 1.0


def pairs_of(running: Running, name: str) -> int:
    return sum(row["pairs"] for row in slices(running) if row["slice"] == name)


def fidelity_of(running: Running, name: str) -> float:
    return next(float(row["fidelity"]) for row in slices(running) if row["slice"] == name)


def slices(running: Running) -> list[dict[str, object]]:
    artifact = running.task()["students"][0]["artifact"]
    response = running.api("GET", f"/tasks/{TASK}/slices", params={"artifact": artifact})
    response.raise_for_status()
    return list(response.json()["slices"])


def test_3_one_person_alone_cannot_promote(running: Running, artifact: str) -> None:
    """The operator proposes; the operator's approval is refused, the validator's is not needed to say so."""
    proposed = stillgate(
        running, "operator", "promote", TASK, "--to", "canary", "--share", "0.9", "--reason", "agrees"
    )
    assert proposed.returncode == 0, proposed.stderr

    refused = stillgate(running, "operator", "approve", "--reason", "myself")

    assert refused.returncode == FORBIDDEN
    assert stage_of(running, artifact) == Stage.SHADOW


def test_4_two_people_make_the_student_serve(running: Running, artifact: str) -> None:
    """After the second person's approval the student answers in the teacher's form; the rest falls back."""
    approved = stillgate(running, "validator", "approve", "--reason", "looked at the slices")
    assert approved.returncode == 0, approved.stderr

    wait_for(lambda: "student" in send(running, 1, "home"), "the student serves")
    assert send(running, 40, "home").count("student") >= 25  # 0.9 of them on average
    assert set(send(running, 10, "elsewhere")) == {"teacher"}  # a slice that is not certified


def test_5_labels_come_late_and_count(running: Running) -> None:
    """A true label sent after the fact shows as accuracy."""
    ids = [running.ask(f"label {number} alpha").headers["x-stillgate-exchange"] for number in range(10)]

    response = running.api(
        "POST",
        "/labels",
        role="operator",
        json={"labels": [{"exchange_id": one, "label": "alpha"} for one in reversed(ids)]},
    )

    answer = response.json()
    assert (answer["accepted"], answer["refused"]) == (10, [])


def why_quiet(running: Running) -> str:
    """What the monitor counted, and what the processes said."""
    metrics = httpx.get(running.url("monitor") + "/metrics").text.splitlines()
    told = [line for line in metrics if line.startswith(("stillgate_detector", "stillgate_monitor"))]
    return "\n".join((*told, *running.log().splitlines()[-40:]))


def test_6_a_drift_in_one_slice_alarms_and_demotes(running: Running, artifact: str) -> None:
    """The slice's fidelity falls, the trigger fires there, and the serving student goes back to shadow."""

    def alarmed() -> bool:
        send(running, 40, "mars", "twist")
        return bool(running.task()["alarms"])

    wait_for(alarmed, "an alarm", seconds=120, explain=lambda: why_quiet(running))
    (alarm, *_) = sorted(running.task()["alarms"], key=lambda one: one["id"])
    assert alarm["artifact"] == artifact
    assert alarm["slice"] in ("area=mars", "all")
    receipt = running.api("GET", f"/alarms/{alarm['id']}").json()["receipt"]
    assert receipt
    wait_for(lambda: stage_of(running, artifact) == Stage.SHADOW, "the student is demoted")
    wait_for(lambda: set(send(running, 5, "home")) == {"teacher"}, "the teacher serves again")


def test_7_the_audit_log_tells_it_all_and_is_whole(running: Running, artifact: str) -> None:
    """Who did what is on record, and the chain holds."""
    history = running.task()["history"]
    assert {row["stage"] for row in history} >= {"shadow", "canary"}
    assert any(row["approved_by"] == "vera" and row["actor"] == "olga" for row in history)

    verified = stillgate(running, "admin", "audit", "verify")

    assert verified.returncode == 0, verified.stderr
