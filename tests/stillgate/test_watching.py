"""Commands that look, and what their exit codes say."""

import json

from ledger.control_file import transaction
from ledger.heartbeats import leave_heartbeat
from tests.gateway.control.desk import TASK, Desk, raise_alarm
from tests.stillgate.command import run, run_as


def _alive(desk: Desk, *loaded: str) -> None:
    with transaction(desk.engine) as session:
        leave_heartbeat(session, "monitor", {})
        leave_heartbeat(session, "student", {"loaded": list(loaded), "problems": {}})


def test_status_of_a_healthy_deployment_is_0(desk: Desk, student: str) -> None:
    """It names the student, its slices, and the command that would promote it."""
    _alive(desk, student)
    status = run_as(desk, "vera", "status")
    assert status.exit_code == 0
    for said in (student, "area=eu *", "98.3 %", "healthy", "stillgate promote topics --to canary"):
        assert said in status.stdout


def test_status_of_a_degraded_or_paused_deployment_is_1(desk: Desk, student: str) -> None:
    """A script need not read the text."""
    _alive(desk, student)
    assert desk.propose().status_code == 201
    paused = run_as(desk, "vera", "status")
    assert (paused.exit_code, "paused" in paused.stdout) == (1, True)
    raise_alarm(desk.engine, student)
    degraded = run_as(desk, "vera", "status")
    assert (degraded.exit_code, "degraded" in degraded.stdout) == (1, True)


def test_status_can_be_read_by_a_program(desk: Desk) -> None:
    """The document of the admin API, and nothing else on standard output."""
    document = json.loads(run_as(desk, "vera", "status", "-o", "json").stdout)
    assert (document["api_version"], document["tasks"][0]["task"]) == ("v1", TASK)


def test_a_student_is_shown_with_its_gate_report(desk: Desk, student: str) -> None:
    """Every slice with its verdict, bound, bar and threshold."""
    shown = run("students", "show", student, "--config", str(desk.path))
    assert shown.exit_code == 0
    for said in ("gate pass", "0.930", "0.800", "0.60", "teacher epoch 1"):
        assert said in shown.stdout
    assert run("students", "show", "s-nix", "--config", str(desk.path)).exit_code == 2


def test_a_student_whose_manifest_is_damaged_is_shown_as_such(desk: Desk, student: str) -> None:
    """Nothing that it says is believed."""
    (desk.data_directory / "artifacts" / student / "manifest.json").write_text("{}")
    assert "registered digest" in run("students", "show", student, "--config", str(desk.path)).stdout
