"""Jobs that no alarm asks for: each with its cause, one at a time, none for ever."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine
from sqlmodel import Session, select

from ledger.clock import now_us
from ledger.configuration import Configuration
from ledger.control_file import transaction
from ledger.exchange_file import ExchangeFile
from ledger.jobs import JobStatus, claim_job, finish_job, open_job
from ledger.tables import JobRow
from monitor.cycle import run_cycle
from monitor.due_jobs import DAY_US
from tests.monitor.world import TASK, add_student, build_configuration

GOOD = {"all": (600, 570)}
CANDIDATE = ({"kind": "static", "encoder": "nowhere"},)
KILLED = {
    "step": "kill",
    "reasons": ["not distillable: three rounds"],
    "diagnosis": "ceiling",
    "teacher_version": "1",
}
OTHER_TEACHER = {"url": "http://127.0.0.1:1", "version": "2"}


def settings(directory: Path, **task: Any) -> Configuration:
    return build_configuration(directory, **({"candidate": CANDIDATE} | task))


def causes(engine: Engine) -> list[str]:
    with Session(engine) as session:
        return list(session.exec(select(JobRow.cause)))


def fail_the_job(engine: Engine) -> None:
    with transaction(engine) as session:
        job = claim_job(session, "w")
        assert job is not None
        assert job.id is not None
        assert finish_job(session, job.id, "w", JobStatus.FAILED, ["it did"])


def test_another_teacher_version_opens_one_job(
    tmp_path: Path, engine: Engine, exchanges: ExchangeFile
) -> None:
    """With its cause and reason, in the driver's name; once it has failed, a person decides."""
    artifact = add_student(engine, tmp_path, GOOD).artifact
    changed = settings(tmp_path, teacher=OTHER_TEACHER)

    run_cycle(engine, settings(tmp_path), 1)
    assert causes(engine) == []
    run_cycle(engine, changed, 2)
    with Session(engine) as session:
        job = open_job(session, TASK)
    run_cycle(engine, changed, 3)
    fail_the_job(engine)
    run_cycle(engine, changed, 4)

    assert job is not None
    assert (job.cause, job.opened_by, job.alarm_id) == ("teacher_changed", "d", None)
    assert job.reasons == [f"{artifact} learnt from teacher version 1; 2 is pinned"]
    assert causes(engine) == ["teacher_changed"]


def test_a_task_that_is_not_distillable_opens_no_job_until_its_teacher_changes(
    tmp_path: Path, engine: Engine, exchanges: ExchangeFile
) -> None:
    """The schedule is due, and nothing happens; another version of the teacher is another task."""
    add_student(engine, tmp_path, GOOD)
    weekly = settings(tmp_path, trigger={"every_days": 7})
    run_cycle(engine, weekly, 8 * DAY_US)
    with transaction(engine) as session:
        job = claim_job(session, "w")
        assert job is not None
        assert job.id is not None
        assert finish_job(session, job.id, "w", JobStatus.FAILED, ["none passed"], None, KILLED)

    run_cycle(engine, weekly, now_us() + 9 * DAY_US)
    assert causes(engine) == ["schedule"]
    changed = settings(tmp_path, trigger={"every_days": 7}, teacher=OTHER_TEACHER)
    run_cycle(engine, changed, now_us() + 10 * DAY_US)

    assert causes(engine) == ["schedule", "teacher_changed"]


def test_the_schedule_counts_from_the_last_student_and_the_last_job(
    tmp_path: Path, engine: Engine, exchanges: ExchangeFile
) -> None:
    """Also from one that failed."""
    add_student(engine, tmp_path, GOOD)
    weekly = settings(tmp_path, trigger={"every_days": 7})

    run_cycle(engine, weekly, 7 * DAY_US)
    assert causes(engine) == []
    run_cycle(engine, weekly, 7 * DAY_US + 1)
    assert causes(engine) == ["schedule"]

    fail_the_job(engine)
    run_cycle(engine, weekly, now_us() + 6 * DAY_US)
    assert causes(engine) == ["schedule"]
    run_cycle(engine, weekly, now_us() + 8 * DAY_US)
    assert causes(engine) == ["schedule", "schedule"]


@pytest.mark.parametrize(
    "task",
    [
        {"trigger": {"launch": False, "every_days": 1}},
        {"licence": None, "trigger": {"every_days": 1}},
        {"candidate": (), "trigger": {"every_days": 1}},
        {},
    ],
)
def test_nothing_is_opened_against_the_settings(
    tmp_path: Path, engine: Engine, exchanges: ExchangeFile, task: dict[str, Any]
) -> None:
    """Nor without a schedule."""
    add_student(engine, tmp_path, GOOD)

    run_cycle(engine, settings(tmp_path, **task), 400 * DAY_US)

    assert causes(engine) == []


def governed(directory: Path, review_by: str | None) -> Configuration:
    people = {"owner": "o", "sponsor": "s", "driver": "d", "validator": "v", "operator": "op"}
    return settings(directory, governance=people | {"review_by": review_by})


def test_an_overdue_review_opens_one_job(tmp_path: Path, engine: Engine, exchanges: ExchangeFile) -> None:
    """From the first moment after its day on, once for each day that is set."""
    add_student(engine, tmp_path, GOOD)
    march = governed(tmp_path, "2026-03-31")
    due_us = march.task[0].governance.review_due_us
    assert due_us == 1_775_001_600 * 1_000_000  # 2026-04-01T00:00:00Z

    run_cycle(engine, march, due_us - 1)
    assert causes(engine) == []
    run_cycle(engine, march, due_us)
    with Session(engine) as session:
        job = open_job(session, TASK)
    assert job is not None
    assert (job.cause, job.opened_by, job.alarm_id) == ("review_overdue", "d", None)
    assert job.reasons == [
        "the task was to be reviewed by 2026-03-31; review it and set governance.review_by anew"
    ]

    fail_the_job(engine)
    run_cycle(engine, march, now_us())
    assert causes(engine) == ["review_overdue"]
    run_cycle(engine, governed(tmp_path, None), now_us())
    assert causes(engine) == ["review_overdue"]


def test_the_first_student_is_a_persons_decision(
    tmp_path: Path, engine: Engine, exchanges: ExchangeFile
) -> None:
    """While none answers, nothing is due."""
    run_cycle(engine, settings(tmp_path, trigger={"every_days": 1}), 400 * DAY_US)

    assert causes(engine) == []
