"""Glances at the control file: a mark changes with what is read after it, and with nothing else."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from ledger.control_file import control_path, open_control_file, transaction
from ledger.glance import OPEN_JOBS, ROLLOUT_MARK, STAGES_AND_BEATS_MARK, STAGES_MARK, Glance
from ledger.heartbeats import leave_heartbeat
from ledger.jobs import JobCause, JobStatus, claim_job, create_job, finish_job
from ledger.stages import Stage, StageChange, append_stage_change
from ledger.tables import AlarmRow, ProposalRow, StudentRow


@pytest.fixture
def control(tmp_path: Path) -> Iterator[Engine]:
    engine = open_control_file(tmp_path)
    yield engine
    engine.dispose()


@pytest.fixture
def glance(tmp_path: Path) -> Iterator[Glance]:
    opened = Glance(tmp_path)
    yield opened
    opened.close()


def add(control: Engine, row: object) -> None:
    with transaction(control) as session:
        session.add(row)


def student(artifact: str) -> StudentRow:
    return StudentRow(
        artifact=artifact,
        task="desk",
        job_id=1,
        parent=None,
        registered_at_us=1,
        manifest_digest="",
        kind="static",
        gate_outcome="pass",
    )


def proposal() -> ProposalRow:
    return ProposalRow(
        task="desk",
        artifact="s-1",
        stage="canary",
        share=0.1,
        expected_revision=1,
        proposed_by="p",
        proposed_at_us=1,
        reason="r",
    )


def alarm() -> AlarmRow:
    return AlarmRow(task="desk", slice="all", artifact="s-1", at_us=1, decision="launch_off", receipt={})


def test_stages_and_students_change_every_mark_that_is_about_them(control: Engine, glance: Glance) -> None:
    """A stage change and a registration are seen at the next look."""
    seen = [glance.ask(STAGES_MARK)]
    add(control, student("s-1"))
    seen.append(glance.ask(STAGES_MARK))
    with transaction(control) as session:
        append_stage_change(session, StageChange("desk", "s-1", Stage.SHADOW, 0.0, "a", "r"), 0)
    seen.append(glance.ask(STAGES_MARK))

    assert len(set(seen)) == 3
    assert glance.ask(STAGES_MARK) == seen[-1]
    assert glance.ask(ROLLOUT_MARK)[:2] == seen[-1]


def test_beats_are_seen_by_those_who_watch_them(control: Engine, glance: Glance) -> None:
    """Other processes' signs of life wake nobody."""

    def look() -> tuple[object, ...]:
        return glance.ask(STAGES_AND_BEATS_MARK, "monitor", "student")

    before = look()
    with transaction(control) as session:
        leave_heartbeat(session, "distill", {})
    assert look() == before
    with transaction(control) as session:
        leave_heartbeat(session, "monitor", {})
    assert look() != before


@pytest.mark.parametrize("make", [alarm, proposal])
def test_alarms_and_proposals_change_the_rollout_mark(control: Engine, glance: Glance, make) -> None:
    """So does the end of a proposal."""
    before = glance.ask(ROLLOUT_MARK)
    row = make()
    add(control, row)
    assert glance.ask(ROLLOUT_MARK) != before

    if isinstance(row, ProposalRow):
        row.decision = "rejected"
        add(control, row)
        assert glance.ask(ROLLOUT_MARK) == before


def test_open_jobs_are_those_that_wait_or_run(control: Engine, glance: Glance) -> None:
    """A finished one needs no worker."""
    assert glance.ask(OPEN_JOBS) == (0,)
    with transaction(control) as session:
        create_job(session, "desk", JobCause.BY_HAND, "p")
    assert glance.ask(OPEN_JOBS) == (1,)
    with transaction(control) as session:
        job = claim_job(session, "w")
        assert job is not None
    assert glance.ask(OPEN_JOBS) == (1,)
    with transaction(control) as session:
        finish_job(session, job.id or 0, "w", JobStatus.FAILED, [])
    assert glance.ask(OPEN_JOBS) == (0,)


def test_a_file_that_was_broken_is_opened_anew(tmp_path: Path, glance: Glance) -> None:
    """Before there is a file, and while it is none, the question fails; afterwards it is answered."""
    with pytest.raises(sqlite3.Error):
        glance.ask(STAGES_MARK)
    control_path(tmp_path).write_bytes(b"this is no database" * 100)
    with pytest.raises(sqlite3.Error):
        glance.ask(STAGES_MARK)
    control_path(tmp_path).unlink()
    open_control_file(tmp_path).dispose()

    assert glance.ask(STAGES_MARK) == (None, 0)
