"""Going down: one person, at once, whatever else is going on."""

import pytest

from ledger.stages import Stage
from tests.gateway.control.desk import Desk, add_student, give_pairs, raise_alarm


@pytest.mark.parametrize("person", ["olga", "pete", "ada"])
def test_anybody_who_may_act_can_abort(desk: Desk, student: str, person: str) -> None:
    """Operator, validator and administrator alike, without a second person."""
    desk.promote_to_canary()
    aborted = desk.descend("abort", person).json()
    assert (aborted["artifact"], aborted["stage"], aborted["actor"]) == (student, "rolled_back", person)
    assert desk.task()["serving"] is None


def test_abort_needs_no_verdict(desk: Desk, student: str) -> None:
    """An alarm and a silent monitor do not stand in the way."""
    desk.promote_to_canary()
    raise_alarm(desk.engine, student)
    assert desk.descend("abort").status_code == 200


def test_abort_without_a_serving_student_takes_the_newest_in_shadow(desk: Desk) -> None:
    """The older one goes on being watched."""
    older = add_student(desk.engine, desk.data_directory, seed=1)
    newer = add_student(desk.engine, desk.data_directory, seed=2)
    assert desk.descend("abort").json()["artifact"] == newer
    assert desk.stages() == {newer: "rolled_back", older: "shadow"}


def test_abort_closes_the_open_proposal(desk: Desk, student: str) -> None:
    """It is superseded, and nobody can approve it any more."""
    proposal = desk.propose().json()["id"]
    assert desk.descend("abort").status_code == 200
    assert desk.task()["proposal"] is None
    refused = desk.approve(proposal)
    assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
    assert "superseded" in refused.json()["error"]


def test_abort_without_any_student_says_so(desk: Desk) -> None:
    """There is nothing to take out."""
    refused = desk.descend("abort")
    assert (refused.status_code, refused.json()["code"]) == (409, "conflict")


def test_undo_goes_one_stage_back_and_no_further_up(desk: Desk, student: str) -> None:
    """From full to canary with its old share; an undo of that would be a promotion."""
    desk.promote_to_canary(share=0.2)
    desk.promote_to_canary(stage="full")
    undone = desk.descend("undo").json()
    assert (undone["stage"], undone["share"]) == ("canary", 0.2)
    refused = desk.descend("undo")
    assert (refused.status_code, "promote" in refused.json()["error"]) == (409, True)


def test_undo_of_a_larger_share_goes_back_to_the_smaller(desk: Desk, student: str) -> None:
    """Within canary, too."""
    desk.promote_to_canary(share=0.1)
    desk.promote_to_canary(share=0.5)
    assert desk.descend("undo").json()["share"] == 0.1


def test_undo_of_an_entry_into_shadow_rolls_back(desk: Desk, student: str) -> None:
    """There was no stage before it."""
    assert desk.descend("undo").json()["stage"] == str(Stage.ROLLED_BACK)


def test_undo_without_history_says_so(desk: Desk) -> None:
    """Nothing has changed yet."""
    assert desk.descend("undo").status_code == 409


def test_after_an_undo_an_alarm_still_counts(desk: Desk, student: str) -> None:
    """What was known at the promotion is known after the undo, and nothing more."""
    desk.promote_to_canary()
    desk.promote_to_canary(stage="full")
    desk.descend("undo")
    before = desk.task()["history"][0]["revision"]
    give_pairs(desk.engine, student, {"all": (300, 295)})
    raise_alarm(desk.engine, student)
    assert before == desk.revision()
    assert desk.propose(stage="full").json()["code"] == "verdict"
