"""Rollout stages are the last of an append-only list of changes."""

import threading

import pytest
from sqlalchemy import Engine

from ledger.audit import first_broken_audit_row
from ledger.control_file import transaction
from ledger.stages import NO_STAGES, Stage, StageChange, StageConflict, append_stage_change, task_stages


def change(artifact: str, stage: Stage, share: float = 0.0) -> StageChange:
    return StageChange("desk", artifact, stage, share, actor="ann", reason="test")


def test_the_last_change_of_an_artifact_is_its_stage(engine: Engine) -> None:
    """Earlier changes stay in the list but no longer hold."""
    with transaction(engine) as session:
        append_stage_change(session, change("s-1", Stage.SHADOW), 0)
        append_stage_change(session, change("s-2", Stage.SHADOW), 1)
        append_stage_change(session, change("s-1", Stage.CANARY, 0.2), 2)

        stages = task_stages(session, "desk")

    assert stages.revision == 3
    assert stages.answering == ("s-2", "s-1")
    assert stages.serving == ("s-1", 0.2)


def test_nothing_has_happened_at_first(engine: Engine) -> None:
    """A task without changes has no student."""
    with transaction(engine) as session:
        assert task_stages(session, "desk") == NO_STAGES


@pytest.mark.parametrize("stage", [Stage.RETIRED, Stage.ROLLED_BACK, Stage.CANDIDATE])
def test_such_a_student_answers_nothing(engine: Engine, stage: Stage) -> None:
    """A student outside shadow, canary and full is asked nothing."""
    with transaction(engine) as session:
        append_stage_change(session, change("s-1", stage), 0)

        assert task_stages(session, "desk").answering == ()


def test_of_two_racing_changes_one_wins(engine: Engine) -> None:
    """Twenty threads with the same expected revision: one change, nineteen clear conflicts."""
    outcomes: list[str] = []

    def race() -> None:
        try:
            with transaction(engine) as session:
                append_stage_change(session, change("s-1", Stage.SHADOW), 0)
            outcomes.append("won")
        except StageConflict as conflict:
            outcomes.append(f"conflict {conflict.expected} {conflict.found}")

    threads = [threading.Thread(target=race) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(outcomes) == ["conflict 0 1"] * 19 + ["won"]


def test_a_rolled_back_transaction_leaves_no_change(engine: Engine) -> None:
    """A change and its audit row stand or fall together."""
    with pytest.raises(StageConflict), transaction(engine) as session:
        append_stage_change(session, change("s-1", Stage.SHADOW), 0)
        append_stage_change(session, change("s-2", Stage.SHADOW), 0)

    with transaction(engine) as session:
        assert task_stages(session, "desk") == NO_STAGES
        assert first_broken_audit_row(session) is None
