"""What the control file says of a task: alarms with their receipts, jobs, stage changes, students."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sqlmodel import Session, col, select

from gateway.control.manifests import manifest_of
from ledger.artifacts import Manifest
from ledger.certificates import thresholds_now
from ledger.clock import now_us
from ledger.configuration import TaskSection
from ledger.erasures import RowsErased, rows_erased
from ledger.stages import ANSWERING, Stage, task_stages
from ledger.tables import AlarmRow, JobRow, StageRow, StudentRow
from monitor.receipt import Replay, replay_alarm
from stillgate.report.period import BEGINNING_US, END_US, Period
from stillgate.report.traffic import Interval

MOST_ALARMS = 200  # in a report, the newest
NO_STAGE = (Stage.CANDIDATE, 0.0)  # before the first change


@dataclass(frozen=True, slots=True)
class AlarmLine:
    """One alarm; `replay` is what the receipt's own counts lead to now, None for a foreign form."""

    id: int
    at_us: int
    slice: str
    artifact: str
    harm: str
    decision: str
    decision_reason: str
    job_id: int | None
    replay: Replay | None
    receipt: Mapping[str, Any]
    cause: Mapping[str, Any] | None  # what moved: monitor.cause; None of an alarm of an earlier release


@dataclass(frozen=True, slots=True)
class JobLine:
    id: int
    cause: str
    alarm_id: int | None
    opened_by: str
    opened_at_us: int
    finished_at_us: int | None
    status: str
    phase: str
    artifact: str | None
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StageLine:
    revision: int
    at_us: int
    artifact: str
    stage: str
    share: float
    actor: str
    approved_by: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class StudentLine:
    """One registered student, and what its manifest tells where the manifest is the registered one."""

    artifact: str
    kind: str
    stage: str
    share: float
    registered_at_us: int
    parent: str | None
    job_id: int
    gate_outcome: str
    erased: RowsErased | None  # of the rows that its job read
    problem: str | None  # why the manifest cannot be trusted
    cause: str | None = None
    alarm_id: int | None = None
    teacher_epoch: str | None = None
    rows: Mapping[str, int] | None = None  # by split
    milliseconds_per_answer: float | None = None
    gate_reasons: tuple[str, ...] = ()
    max_disagreement: float | None = None  # of the certificate
    delta: float | None = None
    thresholds: Mapping[str, float] | None = None  # slice -> confidence from which it may serve now


def alarm_lines(session: Session, task: str, period: Period) -> tuple[list[AlarmLine], int]:
    """The newest alarms of the period, oldest first, and how many there were."""
    since, until = period.bounds_us
    rows = session.exec(
        select(AlarmRow)
        .where(AlarmRow.task == task, AlarmRow.at_us >= since, AlarmRow.at_us < until)
        .order_by(col(AlarmRow.id).desc())
    ).all()
    return [_alarm(row) for row in reversed(rows[:MOST_ALARMS])], len(rows)


def _alarm(row: AlarmRow) -> AlarmLine:
    return AlarmLine(
        id=row.id or 0,
        at_us=row.at_us,
        slice=row.slice,
        artifact=row.artifact,
        harm=row.harm,
        decision=row.decision,
        decision_reason=str(row.receipt.get("decision_reason") or ""),
        job_id=row.job_id,
        replay=_replay(row.receipt),
        receipt=row.receipt,
        cause=row.cause,
    )


def _replay(receipt: Mapping[str, Any]) -> Replay | None:
    try:
        return replay_alarm(receipt)
    except (KeyError, TypeError, ValueError):  # another release wrote it
        return None


def job_lines(session: Session, task: str, period: Period) -> list[JobLine]:
    """Jobs that were open at some time of the period."""
    since, until = period.bounds_us
    rows = session.exec(select(JobRow).where(JobRow.task == task, JobRow.opened_at_us < until))
    return [_job(row) for row in rows if row.finished_at_us is None or row.finished_at_us >= since]


def _job(row: JobRow) -> JobLine:
    return JobLine(
        id=row.id or 0,
        cause=row.cause,
        alarm_id=row.alarm_id,
        opened_by=row.opened_by,
        opened_at_us=row.opened_at_us,
        finished_at_us=row.finished_at_us,
        status=row.status,
        phase=row.phase,
        artifact=row.artifact,
        reasons=tuple(row.reasons),
    )


def stage_lines(session: Session, task: str) -> list[StageLine]:
    """Every stage change of the task, in order."""
    rows = session.exec(select(StageRow).where(StageRow.task == task).order_by(col(StageRow.revision)))
    return [
        StageLine(
            row.revision,
            row.at_us,
            row.artifact,
            row.stage,
            row.share,
            row.actor,
            row.approved_by,
            row.reason,
        )
        for row in rows
    ]


def answering_intervals(
    stages: Sequence[StageLine], artifact: str | None, registered: bool
) -> list[Interval]:
    """When a student had to answer. One that is not registered is remote, and always had to."""
    if artifact is None:
        return []
    if not registered:
        return [(BEGINNING_US, END_US)]
    return list(_intervals([line for line in stages if line.artifact == artifact]))


def _intervals(changes: Sequence[StageLine]) -> Iterator[Interval]:
    since: int | None = None
    for change in changes:
        answers = Stage(change.stage) in ANSWERING
        if answers and since is None:
            since = change.at_us
        elif not answers and since is not None:
            yield since, change.at_us
            since = None
    if since is not None:
        yield since, END_US


def student_lines(session: Session, data_directory: Path, task: TaskSection) -> list[StudentLine]:
    """Every registered student of the task, the newest first."""
    stages = task_stages(session, task.name).stages
    rows = session.exec(
        select(StudentRow)
        .where(StudentRow.task == task.name)
        .order_by(col(StudentRow.registered_at_us).desc(), col(StudentRow.artifact).desc())
    )
    return [_student(session, data_directory, task, row, *stages.get(row.artifact, NO_STAGE)) for row in rows]


def _student(
    session: Session, data_directory: Path, task: TaskSection, row: StudentRow, stage: Stage, share: float
) -> StudentLine:
    manifest = manifest_of(data_directory, row)
    line = StudentLine(
        artifact=row.artifact,
        kind=row.kind,
        stage=str(stage),
        share=share,
        registered_at_us=row.registered_at_us,
        parent=row.parent,
        job_id=row.job_id,
        gate_outcome=row.gate_outcome,
        erased=rows_erased(session, row.job_id),
        problem=manifest if isinstance(manifest, str) else None,
    )
    if isinstance(manifest, str):
        return line
    holding = thresholds_now(session, task, row.artifact, manifest.certificate, now_us())
    return _with_manifest(line, manifest, holding)


def _with_manifest(line: StudentLine, manifest: Manifest, thresholds: Mapping[str, float]) -> StudentLine:
    return replace(
        line,
        cause=manifest.lineage.cause,
        alarm_id=manifest.lineage.alarm_id,
        teacher_epoch=manifest.lineage.teacher_epoch,
        rows=manifest.lineage.rows,
        milliseconds_per_answer=manifest.milliseconds_per_answer,
        gate_reasons=manifest.gate.reasons,
        max_disagreement=manifest.certificate.max_disagreement,
        delta=manifest.certificate.delta,
        thresholds=thresholds,
    )
