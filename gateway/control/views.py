"""What the status document says of a task: its students with their verdicts, jobs, alarms and history."""

from dataclasses import dataclass
from typing import Any

from sqlmodel import Session, col, select

from gateway.control.certified import certificate_view
from gateway.control.context import Control
from gateway.control.evidence import MONITOR, last_alarm, live_verdict
from gateway.control.manifests import manifest_of
from gateway.control.proposals import open_proposal
from gateway.control.teachers import changes_view, extra_calls_view, noise_view, probes_view
from ledger.artifacts import Manifest
from ledger.clock import now_us
from ledger.configuration import TaskSection
from ledger.distillable import not_distillable
from ledger.erasures import RowsErased, rows_erased
from ledger.stages import ANSWERING, Stage, TaskStages, task_stages
from ledger.tables import AlarmRow, ErasureRow, HeartbeatRow, JobRow, SliceRuleRow, StageRow, StudentRow
from monitor.cause import in_short
from monitor.live_verdict import SliceJudgement
from monitor.reports import merged_sums, slice_reports

RECENT_WINDOWS = 10  # `now` in the slice table covers so many of the monitor's windows
END_US = 2**63 - 1
LISTED = 20  # of each list in the document, the newest first


@dataclass(frozen=True, slots=True)
class StudentView:
    """One registered student as people see it."""

    artifact: str
    kind: str
    gate_outcome: str
    stage: str
    share: float
    job_id: int
    parent: str | None
    registered_at_us: int
    loaded: bool
    problem: str | None  # why the student process or this one cannot use its files
    thresholds: dict[str, float]  # slice -> least confidence with which it may serve now
    max_disagreement: float | None
    certificate: dict[str, Any] | None  # gateway.control.certified
    outcome: str | None  # of the live verdict, while it answers
    reasons: tuple[str, ...]
    judged: tuple[SliceJudgement, ...]  # what the live verdict rests on, slice by slice
    alarm: int | None  # its newest
    erased: RowsErased | None  # of the rows that its job read

    @property
    def answers(self) -> bool:
        return self.stage in ANSWERING


@dataclass(frozen=True, slots=True)
class TaskView:
    """One task as people see it."""

    task: str
    classes: tuple[str, ...]
    teacher: dict[str, str]
    extra_calls: dict[str, Any]  # to the teacher, today, by purpose
    probes: dict[str, Any] | None  # gateway.control.teachers
    teacher_changes: list[dict[str, Any]]
    licensed: bool
    not_distillable: str | None  # why it opens no job by itself
    review_by: str | None
    review_overdue: bool
    revision: int
    serving: dict[str, Any] | None
    students: tuple[StudentView, ...]  # the newest first
    slices: list[dict[str, Any]]
    rules: list[dict[str, Any]]  # slice rules as declared, and how far the monitor is with them
    proposal: dict[str, Any] | None
    alarms: list[dict[str, Any]]
    jobs: list[dict[str, Any]]
    erasures: list[dict[str, Any]]
    history: list[dict[str, Any]]

    @property
    def newest_answering(self) -> StudentView | None:
        return next((student for student in self.students if student.answers), None)


def view_task(session: Session, control: Control, task: TaskSection) -> TaskView:
    stages, proposal = task_stages(session, task.name), open_proposal(session, task.name)
    rows = _students(session, task.name, stages)
    process = session.get(HeartbeatRow, "student")
    report = process.report if process else {}
    return TaskView(
        task=task.name,
        classes=task.classes,
        teacher={"url": task.teacher.url, "version": task.teacher.version},
        extra_calls=extra_calls_view(control.data_directory, task),
        probes=probes_view(session, task),
        teacher_changes=changes_view(session, task, LISTED),
        licensed=task.licence is not None and task.licence.distillation_allowed,
        not_distillable=not_distillable(session, task.name, task.teacher.version),
        review_by=None if task.governance.review_by is None else task.governance.review_by.isoformat(),
        review_overdue=(task.governance.review_due_us or END_US) <= now_us(),
        revision=stages.revision,
        serving=_serving(stages),
        students=tuple(_student(session, control, task, stages, row, report) for row in rows),
        slices=_slices(session, control, task, stages, rows),
        rules=_rules(session, task),
        proposal=proposal.model_dump() if proposal else None,
        alarms=[_alarm(row) for row in _newest(session, AlarmRow, task.name)],
        jobs=[row.model_dump() for row in _newest(session, JobRow, task.name)],
        erasures=[
            row.model_dump(exclude={"token", "exchange_ids"})
            for row in _newest(session, ErasureRow, task.name)
        ],
        history=[row.model_dump(exclude={"evidence"}) for row in _newest(session, StageRow, task.name)],
    )


def _alarm(row: AlarmRow) -> dict[str, Any]:
    """Without the receipt and all of the cause, which the alarm's own document has."""
    told = {"cause": in_short(row.cause), "decision_reason": row.receipt.get("decision_reason")}
    return row.model_dump(exclude={"receipt", "cause"}) | told


def _newest(session: Session, table: type[Any], task: str) -> list[Any]:
    query = select(table).where(table.task == task).order_by(col(table.id).desc()).limit(LISTED)
    return list(session.exec(query))


def _students(session: Session, task: str, stages: TaskStages) -> list[StudentRow]:
    """The newest, and every one that answers."""
    rows = session.exec(
        select(StudentRow)
        .where(StudentRow.task == task)
        .order_by(col(StudentRow.registered_at_us).desc(), col(StudentRow.artifact).desc())
    ).all()
    return [row for rank, row in enumerate(rows) if rank < LISTED or row.artifact in stages.answering]


def _serving(stages: TaskStages) -> dict[str, Any] | None:
    if stages.serving is None:
        return None
    artifact, share = stages.serving
    return {"artifact": artifact, "stage": str(stages.stages[artifact][0]), "share": share}


def _student(
    session: Session,
    control: Control,
    task: TaskSection,
    stages: TaskStages,
    row: StudentRow,
    report: dict[str, Any],
) -> StudentView:
    stage, share = stages.stages.get(row.artifact, (Stage.CANDIDATE, 0.0))
    answers = stage in ANSWERING
    verdict = live_verdict(session, control.configuration, task, row.artifact) if answers else None
    alarm = last_alarm(session, task.name, row.artifact)
    manifest = manifest_of(control.data_directory, row)
    trusted = manifest if isinstance(manifest, Manifest) else None
    certificate = certificate_view(session, task, row.artifact, trusted) if trusted else None
    loading_problem = report.get("problems", {}).get(row.artifact) if answers else None
    return StudentView(
        artifact=row.artifact,
        kind=row.kind,
        gate_outcome=row.gate_outcome,
        stage=str(stage),
        share=share,
        job_id=row.job_id,
        parent=row.parent,
        registered_at_us=row.registered_at_us,
        loaded=row.artifact in report.get("loaded", ()),
        problem=manifest if isinstance(manifest, str) else loading_problem,
        thresholds=certificate["thresholds"] if certificate else {},
        max_disagreement=trusted.certificate.max_disagreement if trusted else None,
        certificate=certificate,
        outcome=verdict.outcome if verdict else None,
        reasons=verdict.reasons if verdict else (),
        judged=verdict.slices if verdict else (),
        alarm=alarm.id if alarm else None,
        erased=rows_erased(session, row.job_id),
    )


def _slices(
    session: Session, control: Control, task: TaskSection, stages: TaskStages, rows: list[StudentRow]
) -> list[dict[str, Any]]:
    """One line for each slice of each student that answers: at its gate, over its life, and lately."""
    lines, noise = [], noise_view(session, task)
    for row in rows:
        if row.artifact in stages.answering:
            lines.extend(_slice_lines(session, control, task, row))
    return [line | {"teacher_again": noise.get(line["slice"])} for line in lines]


def _rules(session: Session, task: TaskSection) -> list[dict[str, Any]]:
    monitor = session.get(HeartbeatRow, MONITOR)
    shares = monitor.report.get("catching_up", {}) if monitor else {}
    found = []
    for rule in task.rules:
        row = session.get(SliceRuleRow, (task.name, rule.name))
        is_followed = row is not None and row.definition == rule.definition
        found.append(
            {
                "rule": rule.name,
                "kind": rule.kind,
                "phase": row.phase if row is not None and is_followed else "waiting",
                "share_read": shares.get(f"{task.name}/{rule.name}"),  # of the past, while it catches up
                "since_us": row.since_us if row is not None and is_followed else None,
            }
        )
    return found


def _slice_lines(
    session: Session, control: Control, task: TaskSection, row: StudentRow
) -> list[dict[str, Any]]:
    recent_us = RECENT_WINDOWS * control.configuration.monitor.window_seconds * 1_000_000
    whole = slice_reports(merged_sums(session, task.name, row.artifact), task.rules, task.gate.bar)
    recent = merged_sums(session, task.name, row.artifact, since_us=now_us() - recent_us)
    lately = {report.slice: report for report in slice_reports(recent, task.rules, task.gate.bar)}
    manifest = manifest_of(control.data_directory, row)
    trusted = manifest if isinstance(manifest, Manifest) else None
    gate = {line.slice: line for line in trusted.gate.verdicts} if trusted else {}
    certificate = certificate_view(session, task, row.artifact, trusted) if trusted else None
    return [
        {
            "artifact": row.artifact,
            **report.plain(),
            "threshold": certificate["thresholds"].get(report.slice) if certificate else None,
            "void": certificate is not None and report.slice in certificate["void_slices"],
            "gate": gate[report.slice].model_dump() if report.slice in gate else None,
            "now": lately[report.slice].plain() if report.slice in lately else None,
        }
        for report in whole
    ]
