"""Going up: two persons, a verdict that passes, and nobody in between."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from sqlmodel import col, select

from ledger.artifacts import MANIFEST, Manifest, seal
from ledger.configuration import load
from ledger.control_file import open_control_file, transaction
from ledger.heartbeats import leave_heartbeat
from ledger.jobs import JobCause
from ledger.keys import Role, create_key
from ledger.stages import Stage
from ledger.tables import HeartbeatRow, StageRow, StudentRow
from monitor.criteria import Criterion
from tests.artifacts import set_stage
from tests.gateway.control.desk import (
    CONFIGURATION,
    TASK,
    Desk,
    add_student,
    give_pairs,
    people_with_keys,
    raise_alarm,
    serving,
    void,
    write_configuration,
)

GOOD = {"all": (300, 295)}


def _refused(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["code"]


def test_one_proposes_and_another_approves(desk: Desk, student: str) -> None:
    """The student serves its share, and the history names both persons."""
    proposal = desk.propose(share=0.25)
    assert proposal.status_code == 201
    assert desk.task()["serving"] is None
    assert desk.approve(proposal.json()["id"]).json()["decision"] == "approved"
    task = desk.task()
    assert task["serving"] == {"artifact": student, "stage": "canary", "share": 0.25}
    assert (task["history"][0]["actor"], task["history"][0]["approved_by"]) == ("olga", "pete")


def test_nobody_approves_what_they_proposed(desk: Desk, student: str) -> None:
    """Not even with two keys of two roles."""
    with transaction(desk.engine) as session:
        second_key = create_key(session, "olga", Role.VALIDATOR, "test")
    proposal = desk.propose().json()["id"]
    both = Desk(desk.path, desk.configuration, desk.engine, {"olga": second_key}, desk.url)
    assert _refused(both.approve(proposal, "olga")) == (403, "second_person")
    assert desk.stages() == {student: "shadow"}


def test_nobody_approves_a_student_that_they_had_trained(desk: Desk) -> None:
    """Who opened the job is no second person."""
    artifact = add_student(desk.engine, desk.data_directory, opened_by="pete")
    give_pairs(desk.engine, artifact, GOOD)
    assert _refused(desk.approve(desk.propose().json()["id"])) == (403, "second_person")


def test_the_driver_stands_behind_automatic_jobs(desk: Desk) -> None:
    """An alarm opened the job, and the task's driver answers for it."""
    with transaction(desk.engine) as session:
        key = create_key(session, "dora", Role.VALIDATOR, "test")
    artifact = add_student(desk.engine, desk.data_directory, opened_by="monitor", cause=JobCause.ALARM)
    give_pairs(desk.engine, artifact, GOOD)
    driver = Desk(desk.path, desk.configuration, desk.engine, {"dora": key}, desk.url)
    assert _refused(driver.approve(desk.propose().json()["id"], "dora")) == (403, "second_person")


def test_thin_pairs_are_refused_with_their_reason(desk: Desk) -> None:
    """Inconclusive is not pass."""
    artifact = add_student(desk.engine, desk.data_directory)
    give_pairs(desk.engine, artifact, {"all": (20, 20)})
    refused = desk.propose()
    assert _refused(refused) == (409, "verdict")
    assert "inconclusive" in refused.json()["error"]
    assert "20 of 20 pairs" in refused.json()["reasons"][0]


def test_a_critical_slice_below_its_bar_is_refused(desk: Desk) -> None:
    """However good everything together is."""
    artifact = add_student(desk.engine, desk.data_directory)
    give_pairs(desk.engine, artifact, {"all": (3000, 2950), "area=asia": (100, 50)})
    refused = desk.propose()
    assert _refused(refused) == (409, "verdict")
    assert "area=asia" in refused.json()["error"]


def test_the_verdict_is_asked_again_at_the_approval(desk: Desk, student: str) -> None:
    """What has become bad since the proposal is not approved."""
    proposal = desk.propose().json()["id"]
    give_pairs(desk.engine, student, {"all": (3000, 1500)})
    assert _refused(desk.approve(proposal)) == (409, "verdict")
    assert desk.stages() == {student: "shadow"}


def test_a_silent_monitor_freezes_promotions(desk: Desk, student: str) -> None:
    """Old pairs prove nothing about now."""
    with transaction(desk.engine) as session:
        row = session.get(HeartbeatRow, "monitor")
        assert row is not None
        row.at_us -= 61_000_000
    assert "silent" in desk.propose().json()["error"]
    with transaction(desk.engine) as session:
        leave_heartbeat(session, "monitor", {})
    assert desk.propose().status_code == 201


def test_a_student_that_has_drifted_is_refused(desk: Desk, student: str) -> None:
    """An alarm outweighs the pairs of a better time."""
    raise_alarm(desk.engine, student)
    assert _refused(desk.propose()) == (409, "verdict")


def test_a_certificate_without_threshold_is_refused(desk: Desk, student: str) -> None:
    """Such a student could answer nothing."""
    folder = desk.data_directory / "artifacts" / student
    manifest = Manifest.model_validate_json((folder / MANIFEST).read_bytes())
    bare = manifest.certificate.model_copy(update={"slices": {}})
    digest = seal(folder, manifest.model_copy(update={"certificate": bare}))
    with transaction(desk.engine) as session:
        row = session.get(StudentRow, student)
        assert row is not None
        row.manifest_digest = digest
    refused = desk.propose()
    assert _refused(refused) == (409, "verdict")
    assert "threshold" in refused.json()["error"]


def test_a_void_certificate_is_refused(desk: Desk, student: str) -> None:
    """Nothing of it holds any more, so the student could answer nothing; the reason is what voided it."""
    void(desk.engine, student, "all")
    refused = desk.propose()
    assert _refused(refused) == (409, "verdict")
    assert "void for all (audit: 9 of 30 disagreed)" in refused.json()["error"]


def test_a_damaged_artifact_is_refused(desk: Desk, student: str) -> None:
    """Every file is checked against the manifest first."""
    (desk.data_directory / "artifacts" / student / "model.onnx").write_bytes(b"other")
    refused = desk.propose()
    assert _refused(refused) == (409, "verdict")
    assert "digest" in refused.json()["error"]


def test_a_gate_that_did_not_pass_is_refused(desk: Desk, student: str) -> None:
    """Good live pairs do not make up for it."""
    with transaction(desk.engine) as session:
        row = session.get(StudentRow, student)
        assert row is not None
        row.gate_outcome = "inconclusive"
    assert "gate is inconclusive" in desk.propose().json()["error"]


def test_a_moved_revision_is_a_conflict(desk: Desk, student: str) -> None:
    """Who proposes says what they looked at."""
    assert _refused(desk.propose(expected_revision=0)) == (409, "conflict")
    proposal = desk.propose().json()["id"]
    set_stage(desk.engine, student, Stage.SHADOW, task=TASK)
    assert _refused(desk.approve(proposal)) == (409, "conflict")


def test_one_proposal_waits_at_a_time(desk: Desk, student: str) -> None:
    """A second one is refused until the first is decided; then it is welcome."""
    first = desk.propose().json()["id"]
    assert _refused(desk.propose()) == (409, "conflict")
    rejected = desk.ask("olga", "POST", f"/api/v1/promotions/{first}/reject", {"reason": "not today"})
    assert rejected.json()["decision"] == "rejected"
    assert _refused(desk.approve(first)) == (409, "conflict")
    assert desk.propose().status_code == 201


def test_full_comes_after_canary(desk: Desk, student: str) -> None:
    """One stage at a time, and upwards only."""
    assert _refused(desk.propose(stage="full")) == (409, "conflict")
    desk.promote_to_canary(share=0.2)
    assert _refused(desk.propose(share=0.1)) == (409, "conflict")
    desk.promote_to_canary(stage="full")
    assert desk.task()["serving"] == {"artifact": student, "stage": "full", "share": 1.0}


def test_a_newer_student_takes_the_place_of_the_one_that_serves(desk: Desk, student: str) -> None:
    """At canary the incumbent goes back to shadow; at full whoever answers is retired."""
    desk.promote_to_canary()
    desk.promote_to_canary(stage="full")
    newer = add_student(desk.engine, desk.data_directory, seed=2)
    give_pairs(desk.engine, newer, GOOD)
    desk.promote_to_canary(share=0.5)
    assert desk.stages() == {newer: "canary", student: "shadow"}
    desk.promote_to_canary(stage="full")
    assert desk.stages() == {newer: "full", student: "retired"}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"artifact": "s-unknown"}, 409),
        ({"share": 1.5}, 422),
        ({"share": 0}, 422),
        ({"stage": "shadow"}, 422),
        ({"reason": "  "}, 422),
        ({"expected_revision": -1}, 422),
        ({"expectd_revision": 1}, 422),
    ],
)
def test_a_wrong_proposal_is_refused(desk: Desk, student: str, body: dict[str, object], status: int) -> None:
    """Each with a sentence, none with a change."""
    assert desk.propose(**body).status_code == status
    assert desk.task()["proposal"] is None


def test_an_unknown_proposal_or_task_is_404(desk: Desk) -> None:
    """Both say what they do not know."""
    assert _refused(desk.approve(99)) == (404, "unknown")
    body = {"stage": "canary", "expected_revision": 0, "reason": "x"}
    refused = desk.ask("olga", "POST", "/api/v1/tasks/nix/promotions", body)
    assert (refused.status_code, "topics" in refused.json()["error"]) == (404, True)


def test_of_two_persons_who_approve_at_once_one_wins(desk: Desk, student: str) -> None:
    """Eight requests of two validators: the stage changes once."""
    with transaction(desk.engine) as session:
        keys = desk.keys | {"paul": create_key(session, "paul", Role.VALIDATOR, "test")}
    both = Desk(desk.path, desk.configuration, desk.engine, keys, desk.url)
    proposal = desk.propose().json()["id"]
    with ThreadPoolExecutor(8) as pool:
        responses = list(pool.map(lambda person: both.approve(proposal, person), ["pete", "paul"] * 4))
    assert sorted(response.status_code for response in responses) == [200] + [409] * 7
    assert desk.revision() == 2


def test_abort_and_approve_at_once_never_leave_the_student_serving(desk: Desk, student: str) -> None:
    """Whoever comes first: after both, the teacher serves."""
    proposal = desk.propose().json()["id"]
    with ThreadPoolExecutor(2) as pool:
        approving = pool.submit(desk.approve, proposal)
        aborting = pool.submit(desk.descend, "abort")
        assert aborting.result().status_code == 200
        assert approving.result().status_code in (200, 409)
    task = desk.task()
    assert (task["serving"], task["students"][0]["stage"]) == (None, "rolled_back")


def test_a_bar_that_is_set_and_not_proven_stops_a_promotion(tmp_path: Path) -> None:
    """Good fidelity does not stand in for labels that never came."""
    text = CONFIGURATION.replace("[task.licence]", "[task.verdict]\nmax_regret = 0.05\n[task.licence]")
    path = write_configuration(tmp_path, text)
    configuration = load(path)
    engine = open_control_file(configuration.deployment.data_directory)
    with serving(configuration, engine) as url:
        desk = Desk(path, configuration, engine, people_with_keys(engine), url)
        artifact = add_student(engine, desk.data_directory)
        give_pairs(engine, artifact, {"all": (300, 295)})
        refused = desk.propose()
        judged = desk.task()["students"][0]["judged"][0]["criteria"]
    engine.dispose()

    assert _refused(refused) == (409, "verdict")
    assert "accuracy: the teacher alone is right on 0 of 0 labelled pairs" in refused.json()["reasons"][0]
    told = {one["criterion"]: one["outcome"] for one in judged}
    assert (told["fidelity"], told["accuracy"], told["latency"]) == ("pass", "inconclusive", "not_judged")


def test_the_evidence_of_a_promotion_has_every_criterion(desk: Desk, student: str) -> None:
    """What was judged with which bounds, and what nobody asked to be judged, is kept with the change."""
    desk.promote_to_canary()
    with transaction(desk.engine) as session:
        row = session.exec(select(StageRow).order_by(col(StageRow.id).desc())).first()
    assert row is not None
    line = row.evidence["slices"][0]
    assert [one["criterion"] for one in line["criteria"]] == list(Criterion)
    assert line["criteria"][0]["count"] == 300
    assert line["criteria"][1]["reason"] == "not judged: verdict.max_regret is not set"
