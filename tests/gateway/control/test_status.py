"""The status document: what serves, whether it is safe, who must act, and what is wrong."""

import os
import time
from typing import Any

import pytest

from ledger.control_file import transaction
from ledger.exchange import TEACHER_AGAIN
from ledger.exchange_file import ExchangeFile, exchange_path
from ledger.extra_calls import Purpose, take
from ledger.gateway_beats import beat_path, leave_beat
from ledger.heartbeats import leave_heartbeat
from ledger.stages import Stage
from ledger.tables import HeartbeatRow, JobRow, ProbeWatchRow, SliceRuleRow, TeacherChangeRow
from ledger.tally import Drop, Tally
from monitor.declared_rules import Phase
from monitor.probe_state import plain
from monitor.probe_watch import Compared, Pass, ProbeWatch
from tests.gateway.control.desk import CAUSE, TASK, Desk, add_student, give_pairs, raise_alarm, void
from tests.ledger.builders import build_exchange


def _status(desk: Desk) -> dict[str, Any]:
    response = desk.ask("vera", "GET", "/api/v1/status")
    assert response.status_code == 200, response.text
    document: dict[str, Any] = response.json()
    return document


def _alive(desk: Desk, *loaded: str, problems: dict[str, str] | None = None) -> None:
    with transaction(desk.engine) as session:
        leave_heartbeat(session, "monitor", {})
        leave_heartbeat(session, "student", {"loaded": list(loaded), "problems": problems or {}})


def test_a_deployment_without_a_student_is_healthy(desk: Desk) -> None:
    """It records, the teacher serves, and an operator may train the first student."""
    _alive(desk)
    status = _status(desk)
    assert (status["health"], status["problems"], status["tasks"][0]["serving"]) == ("healthy", [], None)
    assert [act["command"] for act in status["acts"]] == ['stillgate distill open topics --reason "..."']


def test_the_teacher_is_shown_with_its_changes_its_noise_and_its_extra_calls(
    desk: Desk, student: str
) -> None:
    """What probes show, what was asked twice beside the student's slice, and how much of the day is used."""
    _alive(desk, student)
    watch = ProbeWatch(
        "set", 1, versions=("1", "2"), passes=2, total=Compared(40, 3, 4.0), last=Pass("g0", 7, 20)
    )
    change = TeacherChangeRow(
        task=TASK, at_us=5, kind="version", voids=True, before="1", after="2", probe_set="set", evidence={}
    )
    with transaction(desk.engine) as session:
        session.add(ProbeWatchRow(task=TASK, state=plain(watch)))
        session.add(change)
    give_pairs(desk.engine, TEACHER_AGAIN, {"all": (50, 45)})
    take(desk.data_directory, TASK, Purpose.AUDIT, 10)
    task = _status(desk)["tasks"][0]
    assert (task["extra_calls"]["used"]["audit"], task["extra_calls"]["per_day"]) == (1, 10_000)
    assert task["teacher_changes"][0]["sentence"] == "the teacher's version is 2; before it was 1"
    assert [line["teacher_again"] for line in task["slices"] if line["slice"] != "all"] == [None]
    (overall,) = [line["teacher_again"] for line in task["slices"] if line["slice"] == "all"]
    assert (overall["pairs"], overall["agreements"]) == (50, 45)
    assert overall["noise_low"] < 0.1 < overall["noise_high"]
    probes = task["probes"]
    assert (probes["replies"], probes["changed"], probes["mean_variation"]) == (40, 3, 0.1)
    assert probes["changed_low"] < 3 / 40 < probes["changed_high"]
    assert (probes["last_pass"]["at_us"], probes["version"], probes["null"]) == (7, "2", None)


def test_a_student_that_passes_may_be_promoted(desk: Desk, student: str) -> None:
    """The command that does it is told."""
    _alive(desk, student)
    status = _status(desk)
    assert status["health"] == "healthy"
    assert status["tasks"][0]["students"][0]["outcome"] == "pass"
    assert status["acts"][0]["command"].startswith("stillgate promote topics --to canary")


def test_an_open_proposal_pauses_and_names_who_must_act(desk: Desk, student: str) -> None:
    """Not the one who proposed it."""
    _alive(desk, student)
    proposal = desk.propose().json()["id"]
    status = _status(desk)
    assert status["health"] == "paused"
    (act,) = status["acts"]
    assert act["who"] == "a validator other than olga"
    assert act["command"].startswith(f"stillgate approve {proposal} ")


def test_a_drifted_student_degrades_and_asks_for_a_successor(desk: Desk, student: str) -> None:
    """Until a job runs that trains one."""
    _alive(desk, student)
    raise_alarm(desk.engine, student)
    status = _status(desk)
    assert status["health"] == "degraded"
    assert status["acts"][0]["what"] == f"train a successor of {student}"
    with transaction(desk.engine) as session:
        session.add(JobRow(task=TASK, cause="alarm", opened_by="dora", opened_at_us=1))
    assert _status(desk)["acts"] == []


def test_the_drift_of_an_older_student_is_history(desk: Desk) -> None:
    """Its successor answers already."""
    old = add_student(desk.engine, desk.data_directory, seed=1)
    raise_alarm(desk.engine, old)
    new = add_student(desk.engine, desk.data_directory, seed=2)
    give_pairs(desk.engine, new, {"all": (300, 295)})
    _alive(desk, old, new)
    assert _status(desk)["problems"] == []


@pytest.mark.parametrize(
    ("problem", "said"), [(None, "is not loaded"), ("it answers NaN", "cannot be used: it answers NaN")]
)
def test_a_student_that_cannot_answer_degrades(
    desk: Desk, student: str, problem: str | None, said: str
) -> None:
    """With what the student process says about it."""
    _alive(desk, problems={student: problem} if problem else {})
    status = _status(desk)
    assert status["health"] == "degraded"
    assert said in status["problems"][0]


def test_a_damaged_manifest_is_a_problem_of_the_student(desk: Desk, student: str) -> None:
    """The document still comes, with nothing believed that the manifest says."""
    _alive(desk, student)
    (desk.data_directory / "artifacts" / student / "manifest.json").write_text("{}")
    shown = desk.ask("vera", "GET", f"/api/v1/tasks/{TASK}/students/{student}").json()
    assert (shown["manifest"], "digest" in shown["problem"]) == (None, True)
    assert _status(desk)["tasks"][0]["students"][0]["thresholds"] == {}


def test_what_voided_a_certificate_is_told(desk: Desk, student: str) -> None:
    """Among the problems while the student serves, in its slice table, and with its lines."""
    _alive(desk, student)
    desk.promote_to_canary()
    assert _status(desk)["health"] == "healthy"
    void(desk.engine, student, "all")
    status = _status(desk)
    assert status["health"] == "degraded"
    assert (
        "certificate is void for all (audit: 9 of 30 disagreed); the teacher serves" in status["problems"][0]
    )
    assert [line["void"] for line in status["tasks"][0]["slices"] if line["slice"] == "all"] == [True]
    shown = desk.ask("vera", "GET", f"/api/v1/tasks/{TASK}/students/{student}").json()["certificate"]
    assert (shown["thresholds"], shown["void_slices"]) == ({}, ["all"])
    assert [(line["cause"], line["accepted"]) for line in shown["lines"]] == [("audit", 500)]


@pytest.mark.parametrize("age_seconds", [None, 61])
def test_a_monitor_that_is_silent_degrades(desk: Desk, age_seconds: int | None) -> None:
    """Nothing measures the student then."""
    _alive(desk)
    with transaction(desk.engine) as session:
        row = session.get(HeartbeatRow, "monitor")
        assert row is not None
        if age_seconds is None:
            session.delete(row)
        else:
            row.at_us -= age_seconds * 1_000_000
    status = _status(desk)
    assert (status["health"], "monitor" in status["problems"][0]) == ("degraded", True)


@pytest.mark.parametrize(("age_seconds", "health"), [(0, "healthy"), (60, "degraded")])
def test_a_gateway_that_is_silent_degrades(desk: Desk, age_seconds: int, health: str) -> None:
    """It died or hangs; one that was told to stop leaves no file and shows as nothing."""
    _alive(desk)
    ExchangeFile(exchange_path(desk.data_directory, "g0")).close()
    assert _status(desk)["gateways"][0]["age_seconds"] is None
    beat = beat_path(desk.data_directory, "g0")
    leave_beat(beat)
    os.utime(beat, (time.time() - age_seconds,) * 2)

    status = _status(desk)

    assert status["health"] == health
    assert [problem.partition(" has been")[0] for problem in status["problems"]] == (
        ["gateway g0"] if age_seconds else []
    )
    assert status["gateways"][0]["quiet"] is (age_seconds > 0)


def test_slices_without_pairs_have_no_numbers(desk: Desk) -> None:
    """null, never NaN: JSON has none."""
    artifact = add_student(desk.engine, desk.data_directory)
    give_pairs(desk.engine, artifact, {"all": (0, 0)})
    (line,) = _status(desk)["tasks"][0]["slices"]
    assert (line["pairs"], line["fidelity"], line["accuracy"]) == (0, None, None)


def test_each_slice_shows_its_gate_its_life_and_its_threshold(desk: Desk, student: str) -> None:
    """Before and now stand side by side."""
    lines = {line["slice"]: line for line in _status(desk)["tasks"][0]["slices"]}
    assert (lines["all"]["gate"]["pairs"], lines["all"]["pairs"], lines["all"]["threshold"]) == (
        600,
        300,
        0.6,
    )
    assert (lines["area=eu"]["gate"], lines["area=eu"]["critical"]) == (None, True)


def test_the_accounts_of_a_gateway_add_up(desk: Desk) -> None:
    """requests = recorded + dropped + pending, over closed blocks and the running one."""
    path = exchange_path(desk.data_directory, "g0")
    file, tally = ExchangeFile(path), Tally(path.with_suffix(".tally"))
    first = file.open_block()
    file.append([build_exchange(first), build_exchange(first + 1)], [])
    file.close_block(first, 5, {Drop.SHUTDOWN: 1})
    tally.begin(file.open_block())
    numbers = [tally.start_request() for _ in range(4)]
    file.append([build_exchange(numbers[0])], [])
    tally.drop(Drop.STORE_FAILED)
    (gateway,) = _status(desk)["gateways"]
    assert (gateway["requests"], gateway["recorded"], gateway["pending"]) == (9, 3, 2)
    assert gateway["dropped"] == {"shutdown": 1, "crash": 2, "store_failed": 1}
    tally.close()
    file.close()


def test_a_file_that_is_no_exchange_file_is_left_out(desk: Desk) -> None:
    """It costs a line in the log, not the document."""
    folder = desk.data_directory / "exchanges"
    folder.mkdir()
    (folder / "g0.sqlite").write_bytes(b"this is no database, and longer than a header of one is" * 4)
    assert _status(desk)["gateways"] == []


def test_merged_slices_can_be_asked_for_alone(desk: Desk, student: str) -> None:
    """Of the newest student that answers, or of a named one."""
    document = desk.ask("vera", "GET", f"/api/v1/tasks/{TASK}/slices").json()
    assert (document["artifact"], document["slices"][0]["agreements"]) == (student, 295)
    empty = desk.ask("vera", "GET", f"/api/v1/tasks/{TASK}/slices?artifact=s-other").json()
    assert empty["slices"] == []


def test_every_statistic_of_one_slice_can_be_asked_for(desk: Desk, student: str) -> None:
    """The overall slice unless another is named; a slice without pairs is 404."""
    document = desk.ask("vera", "GET", f"/api/v1/tasks/{TASK}/statistics").json()
    assert (document["slice"], document["statistics"]["pairs"]) == ("all", 300)
    assert document["statistics"]["calibration"]["error_smooth"] is None
    unknown = desk.ask("vera", "GET", f"/api/v1/tasks/{TASK}/statistics?slice=area=nowhere")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "unknown")


def test_the_status_says_of_an_alarm_what_moved(desk: Desk, student: str) -> None:
    """In a sentence and by source; the evidence is asked for alone."""
    raise_alarm(desk.engine, student)
    (alarm,) = _status(desk)["tasks"][0]["alarms"]
    assert alarm["cause"] == {"summary": CAUSE["summary"], "moved": ["teacher"]}


def test_alarms_and_jobs_can_be_asked_for_alone(desk: Desk, student: str) -> None:
    """With receipt and reasons; unknown ones are 404."""
    number = raise_alarm(desk.engine, student)
    alarm = desk.ask("vera", "GET", f"/api/v1/alarms/{number}").json()
    assert (alarm["receipt"], alarm["cause"]) == ({"m0": 0.1}, CAUSE)
    assert desk.ask("vera", "GET", "/api/v1/jobs/1").json()["artifact"] == student
    assert desk.ask("vera", "GET", "/api/v1/jobs/9").status_code == 404
    assert desk.ask("vera", "GET", "/api/v1/alarms/x").status_code == 422


def test_a_job_is_opened_once_and_only_with_a_licence(desk: Desk) -> None:
    """A second one waits for the first to end."""
    opened = desk.ask("olga", "POST", f"/api/v1/tasks/{TASK}/jobs", {"reason": "first"})
    assert (opened.status_code, opened.json()["opened_by"]) == (201, "olga")
    again = desk.ask("olga", "POST", f"/api/v1/tasks/{TASK}/jobs", {"reason": "second"})
    assert (again.status_code, again.json()["code"]) == (409, "conflict")


def test_a_full_student_needs_nobody(desk: Desk, student: str) -> None:
    """It is at the top."""
    desk.promote_to_canary()
    desk.promote_to_canary(stage=str(Stage.FULL))
    _alive(desk, student)
    assert (_status(desk)["acts"], _status(desk)["health"]) == ([], "healthy")


def test_a_critical_rule_that_catches_up_holds_promotions_back(desk: Desk, student: str) -> None:
    """It is shown with the share of the past that is read, and what is there so far proves nothing yet."""
    _alive(desk, student)
    (rule,) = [rule for rule in desk.configuration.task[0].rules if rule.name == "area"]
    shares = {f"{TASK}/area": 0.25}
    with transaction(desk.engine) as session:
        leave_heartbeat(session, "monitor", {"catching_up": shares})
        row = SliceRuleRow(
            task=TASK,
            rule="area",
            definition=rule.definition,
            phase=Phase.CATCHING_UP,
            declared_at_us=1,
            since_us=7,
        )
        session.add(row)
    task = _status(desk)["tasks"][0]
    (told,) = [entry for entry in task["rules"] if entry["rule"] == "area"]
    assert (told["kind"], told["phase"], told["share_read"], told["since_us"]) == (
        "header",
        "catching_up",
        0.25,
        7,
    )
    assert task["students"][0]["outcome"] == "inconclusive"
    assert "slice rule area over the past" in task["students"][0]["reasons"][0]
    assert desk.propose().status_code == 409

    with transaction(desk.engine) as session:
        session.merge(SliceRuleRow(**(row.model_dump() | {"phase": Phase.JOINED})))
    assert _status(desk)["tasks"][0]["students"][0]["outcome"] == "pass"
