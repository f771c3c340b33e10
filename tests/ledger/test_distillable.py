"""A task that was found not distillable stays so until something that it depends on changes."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from ledger.clock import now_us
from ledger.control_file import open_control_file, transaction
from ledger.distillable import not_distillable
from ledger.jobs import JobCause, JobStatus, claim_job, create_job, finish_job
from ledger.tables import AlarmRow, TeacherChangeRow

KILL: dict[str, Any] = {
    "step": "kill",
    "reasons": ["not distillable: 3 rounds without passing", "ceiling: .85"],
    "diagnosis": "ceiling",
    "teacher_version": "1",
}


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = open_control_file(tmp_path)
    yield engine
    engine.dispose()


def end_a_job(engine: Engine, conclusion: dict[str, Any] | None) -> None:
    with transaction(engine) as session:
        create_job(session, "desk", JobCause.BY_HAND, "ann")
        job = claim_job(session, "w")
        assert job is not None
        assert job.id is not None
        assert finish_job(session, job.id, "w", JobStatus.FAILED, ["no"], None, conclusion)


def asked(engine: Engine, version: str = "1", cause: dict[str, Any] | None = None) -> str | None:
    with transaction(engine) as session:
        return not_distillable(session, "desk", version, cause)


def raise_alarm(engine: Engine, *moved: str) -> None:
    with transaction(engine) as session:
        alarm = AlarmRow(
            task="desk", slice="all", artifact="s-1", at_us=now_us(), decision="not_distillable", receipt={}
        )
        alarm.cause = {"moved": list(moved), "summary": "so"}
        session.add(alarm)


def test_the_reason_names_job_diagnosis_and_way_out(engine: Engine) -> None:
    """And nothing stands in the way of a task that nobody gave up."""
    assert asked(engine) is None
    end_a_job(engine, KILL)

    said = asked(engine) or ""

    assert "job 1 found the task not distillable (ceiling)" in said
    assert "open one by hand" in said


def test_another_teacher_is_another_task(engine: Engine) -> None:
    """By the version that is pinned, or by what probes show."""
    end_a_job(engine, KILL)
    assert asked(engine, version="2") is None

    with transaction(engine) as session:
        session.add(
            TeacherChangeRow(
                task="desk", at_us=now_us() + 1, kind="answers", voids=True, before=None, after=None,
                probe_set="p", evidence={},
            )
        )  # fmt: skip
    assert asked(engine) is None


def test_input_that_moved_lifts_it(engine: Engine) -> None:
    """The alarm that is being raised, or one since then; one with another cause does not."""
    end_a_job(engine, KILL)
    assert asked(engine, cause={"moved": ["input"]}) is None
    raise_alarm(engine, "student")
    assert asked(engine) is not None
    raise_alarm(engine, "teacher", "input")
    assert asked(engine) is None


def test_the_last_conclusion_holds(engine: Engine) -> None:
    """A later job, opened by hand, that iterates lifts it; one that ended without a gate changes nothing."""
    end_a_job(engine, KILL)
    end_a_job(engine, None)
    assert asked(engine) is not None
    end_a_job(engine, KILL | {"step": "iterate"})
    assert asked(engine) is None
