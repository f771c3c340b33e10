"""Distillation jobs: one open for a task, one worker for a job."""

import pytest
from sqlalchemy import Engine
from sqlalchemy.exc import IntegrityError

from ledger.clock import now_us
from ledger.control_file import transaction
from ledger.jobs import (
    HEARTBEAT_SECONDS,
    JobCause,
    JobStatus,
    beat,
    claim_job,
    create_job,
    finish_job,
    open_job,
    release_job,
)
from ledger.tables import JobRow


@pytest.fixture
def job_id(engine: Engine) -> int:
    with transaction(engine) as session:
        job = create_job(session, "desk", JobCause.BY_HAND, "ann")
        assert job.id is not None
        return job.id


def test_a_task_has_one_open_job(engine: Engine, job_id: int) -> None:
    """A second one is refused by the database itself; another task's is not."""
    with pytest.raises(IntegrityError), transaction(engine) as session:
        create_job(session, "desk", JobCause.ALARM, "monitor", alarm_id=1)

    with transaction(engine) as session:
        assert create_job(session, "other", JobCause.BY_HAND, "ann").status == JobStatus.WAITING


def test_a_job_is_claimed_once(engine: Engine, job_id: int) -> None:
    """A second worker finds nothing to do."""
    with transaction(engine) as session:
        first = claim_job(session, "w1")
        assert first is not None
        assert first.id == job_id
    with transaction(engine) as session:
        assert claim_job(session, "w2") is None


def test_a_silent_workers_job_is_claimed_again(engine: Engine, job_id: int) -> None:
    """A worker that died gives its job up by saying nothing; its late ending does not count."""
    with transaction(engine) as session:
        claim_job(session, "w1")
        job = session.get_one(JobRow, job_id)
        job.heartbeat_us = now_us() - int((HEARTBEAT_SECONDS + 1) * 1e6)

    with transaction(engine) as session:
        again = claim_job(session, "w2")
        assert again is not None
        assert again.attempts == 2
    with transaction(engine) as session:
        assert not beat(session, job_id, "w1", "training", 0.5)
        assert not finish_job(session, job_id, "w1", JobStatus.SUCCEEDED, [], "s-late")
        assert session.get_one(JobRow, job_id).artifact is None


def test_a_restarted_worker_takes_its_own_job_back_at_once(engine: Engine, job_id: int) -> None:
    """A worker asks only when it runs nothing, so a job in its name is one it died over."""
    with transaction(engine) as session:
        claim_job(session, "w1")
    with transaction(engine) as session:
        again = claim_job(session, "w1")

    assert again is not None
    assert again.attempts == 2


def test_a_finished_job_makes_room_for_the_next(engine: Engine, job_id: int) -> None:
    """Closed jobs stay in the list and no longer count as open."""
    with transaction(engine) as session:
        claim_job(session, "w1")
        assert finish_job(session, job_id, "w1", JobStatus.FAILED, ["no rows"])
        assert open_job(session, "desk") is None
        create_job(session, "desk", JobCause.BY_HAND, "ann")


def test_a_released_job_waits_again(engine: Engine, job_id: int) -> None:
    """A worker that shuts down gives its job back."""
    with transaction(engine) as session:
        claim_job(session, "w1")
        release_job(session, job_id, "w1")
        again = claim_job(session, "w2")

    assert again is not None
    assert again.claimed_by == "w2"
