"""The status document: what serves now, whether the student is safe, and who must act."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sqlmodel import Session, col, select

from gateway.control.access import Person
from gateway.control.accounts import GatewayAccounts
from gateway.control.attention import acts_of, health_of, problems_of
from gateway.control.context import Control
from gateway.control.evidence import monitor_silence
from gateway.control.views import RECENT_WINDOWS, TaskView, view_task
from ledger.clock import now_us
from ledger.control_file import transaction
from ledger.coverage_file import read_coverage
from ledger.gateway_beats import GATEWAY_QUIET_SECONDS, beat_ages
from ledger.tables import HeartbeatRow

QUIET_SECONDS = 15.0  # a process silent for longer is shown as such


def status_document(control: Control, person: Person) -> dict[str, Any]:
    """Everything, as one JSON document. Takes the control file's read lock for milliseconds."""
    accounts = control.accounts.read()
    with transaction(control.reading) as session:
        tasks = [view_task(session, control, task) for task in control.configuration.task]
        processes = _processes(session)
        problems = _process_problems(session, control, tasks, processes)
    problems.extend(_gateway_problems(beats := beat_ages(control.data_directory)))
    for task in tasks:
        problems.extend(problems_of(task))
    return {
        "api_version": "v1",
        "at_us": now_us(),
        "deployment": control.configuration.deployment.name,
        "person": {"name": person.name, "role": str(person.role)},
        "health": str(health_of(problems, tasks)),
        "problems": problems,
        "acts": [asdict(act) for task in tasks for act in acts_of(task)],
        "tasks": [asdict(task) for task in tasks],
        "recent_seconds": RECENT_WINDOWS * control.configuration.monitor.window_seconds,
        "processes": processes,
        "gateways": [_gateway(gateway, beats.get(gateway.gateway)) for gateway in accounts],
        "shadow": shadow_coverage(control.configuration.deployment.data_directory),
    }


def shadow_coverage(data_directory: Path) -> list[dict[str, Any]]:
    """What each student's measured divergence rests on, for each gateway since its start; counts of exchanges."""
    return [
        {
            "gateway": report["gateway"],
            "since_us": report["since_us"],
            "at_us": report["at_us"],
            **student,
            "coverage": {
                name: answered / eligible
                for name, (eligible, answered) in student["slices"].items()
                if eligible
            },
        }
        for report in read_coverage(data_directory)
        for student in report["students"]
    ]


def _processes(session: Session) -> list[dict[str, Any]]:
    now = now_us()
    rows = session.exec(select(HeartbeatRow).order_by(col(HeartbeatRow.process)))
    return [
        {
            "process": row.process,
            "age_seconds": (age := (now - row.at_us) / 1e6),
            "quiet": age > QUIET_SECONDS,
            "report": row.report,
        }
        for row in rows
    ]


def _process_problems(
    session: Session, control: Control, tasks: list[TaskView], processes: list[dict[str, Any]]
) -> list[str]:
    silence = monitor_silence(session, control.configuration.monitor)
    problems = [silence] if silence else []
    wanted = any(student.answers for task in tasks for student in task.students)
    quiet = {process["process"]: process["quiet"] for process in processes}
    if wanted and quiet.get("student", True):
        problems.append("the student process is silent, so the teacher answers everything")
    return problems


def _gateway_problems(beats: Mapping[str, float]) -> list[str]:
    return [
        f"gateway {gateway} has been silent for {age:.0f} s: its callers may get no answers. Restart it, or delete"
        f" exchanges/{gateway}.beat if it is gone for good"
        for gateway, age in beats.items()
        if age > GATEWAY_QUIET_SECONDS
    ]


def _gateway(accounts: GatewayAccounts, age_seconds: float | None) -> dict[str, Any]:
    """`age_seconds` is that of its last sign of life; None for a gateway that was told to stop."""
    return {
        **asdict(accounts),
        "dropped": dict(accounts.dropped),
        "pending": accounts.pending,
        "age_seconds": age_seconds,
        "quiet": age_seconds is not None and age_seconds > GATEWAY_QUIET_SECONDS,
    }
