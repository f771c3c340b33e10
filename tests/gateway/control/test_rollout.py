"""What the rollout tick decides, and that it does it."""

from gateway.control.rollout import RaisedAlarm, Situation, next_changes, proposal_is_overtaken, tick
from ledger.control_file import open_control_file_read_only, transaction
from ledger.stages import NO_STAGES, Stage, TaskStages
from ledger.tables import StudentRow
from tests.gateway.control.desk import Desk, add_student, give_pairs, raise_alarm

CANARY = TaskStages(4, {"s-1": (Stage.CANARY, 0.1)})


def _tick(desk: Desk) -> int:
    reading = open_control_file_read_only(desk.data_directory)
    try:
        return tick(reading, desk.engine, desk.configuration)
    finally:
        reading.dispose()


def test_a_student_without_a_stage_enters_shadow() -> None:
    """Registration alone is enough to be watched."""
    (change,) = next_changes(Situation("topics", NO_STAGES, students=("s-1",)))
    assert (change.artifact, change.stage, change.share) == ("s-1", Stage.SHADOW, 0.0)


def test_a_student_that_was_rolled_back_does_not_come_back() -> None:
    """It has a stage, so it is no newcomer."""
    stages = TaskStages(2, {"s-1": (Stage.ROLLED_BACK, 0.0)})
    assert next_changes(Situation("topics", stages, students=("s-1",))) == ()


def test_a_new_alarm_takes_the_serving_student_to_shadow() -> None:
    """Without asking anybody: going down takes no second person."""
    situation = Situation("topics", CANARY, ("s-1",), RaisedAlarm(7, "area=eu"), alarms_seen=6)
    (change,) = next_changes(situation)
    assert (change.artifact, change.stage, change.evidence) == ("s-1", Stage.SHADOW, {"alarm": 7})


def test_an_alarm_that_was_known_at_the_promotion_changes_nothing() -> None:
    """It was on the table when two persons decided."""
    situation = Situation("topics", CANARY, ("s-1",), RaisedAlarm(7, "area=eu"), alarms_seen=7)
    assert next_changes(situation) == ()


def test_an_alarm_about_nobody_who_serves_changes_nothing() -> None:
    """A student in shadow harms no caller."""
    stages = TaskStages(1, {"s-1": (Stage.SHADOW, 0.0)})
    assert next_changes(Situation("topics", stages, ("s-1",), RaisedAlarm(7, "area=eu"))) == ()


def test_the_way_down_comes_before_a_newcomer() -> None:
    """Both are due; callers first."""
    situation = Situation("topics", CANARY, ("s-1", "s-2"), RaisedAlarm(1, "all"))
    assert [change.artifact for change in next_changes(situation)] == ["s-1", "s-2"]


def test_a_proposal_is_overtaken_by_any_other_change() -> None:
    """It was made about a revision that is no more, or is about to be."""
    assert not proposal_is_overtaken(Situation("topics", CANARY, proposed_at_revision=4))
    assert proposal_is_overtaken(Situation("topics", CANARY, proposed_at_revision=3))
    due = Situation("topics", CANARY, students=("s-2",), proposed_at_revision=4)
    assert proposal_is_overtaken(due)


def test_the_tick_puts_a_registered_student_into_shadow_once(desk: Desk) -> None:
    """The first tick does it, the second finds nothing to do."""
    artifact = add_student(desk.engine, desk.data_directory, stage=None)
    assert _tick(desk) == 1
    assert desk.stages() == {artifact: "shadow"}
    assert _tick(desk) == 0


def test_a_student_that_failed_its_gate_stays_out(desk: Desk) -> None:
    """Somebody registered it all the same; it answers nothing."""
    artifact = add_student(desk.engine, desk.data_directory, stage=None)
    with transaction(desk.engine) as session:
        row = session.get(StudentRow, artifact)
        assert row is not None
        row.gate_outcome = "fail"
    assert _tick(desk) == 0
    assert desk.stages() == {artifact: "candidate"}


def test_an_alarm_demotes_on_the_next_tick_and_closes_the_proposal(desk: Desk, student: str) -> None:
    """The student goes back to shadow, and the way up that was open is open no more."""
    desk.promote_to_canary()
    assert desk.propose(stage="full").status_code == 201
    alarm = raise_alarm(desk.engine, student)
    assert _tick(desk) == 1
    task = desk.task()
    assert (task["students"][0]["stage"], task["proposal"], task["serving"]) == ("shadow", None, None)
    assert f"alarm {alarm}" in task["history"][0]["reason"]


def test_an_old_alarm_of_a_task_does_not_demote_a_newer_student(desk: Desk) -> None:
    """The alarm was about the student before."""
    old = add_student(desk.engine, desk.data_directory, seed=1)
    raise_alarm(desk.engine, old)
    new = add_student(desk.engine, desk.data_directory, seed=2)
    give_pairs(desk.engine, new, {"all": (300, 295)})
    desk.promote_to_canary(artifact=new)
    assert _tick(desk) == 0
    assert desk.stages()[new] == "canary"
