"""Puts a report together: the control file's side first, then the exchange files', then what follows from both."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlmodel import Session, select

from gateway.control.manifests import manifest_of
from ledger.alarms import LABELS_MOVED
from ledger.artifacts import Manifest
from ledger.configuration import Configuration, TaskSection
from ledger.exchange_file import exchange_paths
from ledger.slices import OVERALL
from ledger.stages import task_stages
from ledger.tables import CursorRow, HeartbeatRow, StudentRow
from monitor.cycle import PROCESS
from monitor.drawing.curves import SliceCurves, slice_curves
from monitor.live_verdict import LiveVerdict, judge_live
from monitor.reports import merged_sums, students_with_sums, sums_over_time
from monitor.sums import SliceSums
from stillgate.report.course import course_of
from stillgate.report.coverage import Coverage, coverage_of
from stillgate.report.disagreements import Disagreements, find_disagreements
from stillgate.report.document import CURVES_SHOWN, SCHEMA, SLICES_SHOWN, Report, Windows
from stillgate.report.history import (
    AlarmLine,
    StageLine,
    StudentLine,
    alarm_lines,
    answering_intervals,
    job_lines,
    stage_lines,
    student_lines,
)
from stillgate.report.period import Period
from stillgate.report.slices import SliceLine, slice_lines, with_statistics
from stillgate.report.state import MOST_UNFOLDED, state_of
from stillgate.report.traffic import Traffic, read_traffic


class UnknownStudent(Exception):
    """The name is neither registered for the task nor has it ever answered."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What a report is about."""

    configuration: Configuration
    task: TaskSection
    student: str | None
    period: Period


@dataclass(frozen=True, slots=True)
class Known:
    """What the control file says of it."""

    students: tuple[StudentLine, ...]
    registered: StudentLine | None  # the student of the report; None for a remote one
    stages: tuple[StageLine, ...]
    alarms: tuple[AlarmLine, ...]
    alarms_in_period: int
    sums: dict[str, SliceSums]
    verdict: LiveVerdict

    @property
    def thresholds(self) -> dict[str, float]:
        return thresholds_of(self.registered)

    def alarms_of(self, student: str | None) -> list[AlarmLine]:
        """Without those that were refused."""
        return [one for one in self.alarms if one.artifact == student and one.decision != LABELS_MOVED]


def thresholds_of(student: StudentLine | None) -> dict[str, float]:
    """Those that hold now."""
    return dict((student.thresholds if student else None) or {})


def build_report(
    session: Session,
    configuration: Configuration,
    task: TaskSection,
    asked: str | None,
    period: Period,
    with_texts: bool,
    now_us: int,
) -> Report:
    """Everything about one student. Raises UnknownStudent; ValueError for sums that another release wrote."""
    students = student_lines(session, configuration.deployment.data_directory, task)
    scope = Scope(configuration, task, _student(session, task.name, asked, students), period)
    known = _known(session, scope, students)
    traffic, coverage = _traffic(session, scope, known)
    lines = _slices(session, scope, known, traffic)
    shown = [line.report.slice for line in lines[:SLICES_SHOWN]]
    own_alarms = known.alarms_of(scope.student)
    overall = lines[0] if lines else None
    return Report(
        schema=SCHEMA,
        made_at_us=now_us,
        deployment=configuration.deployment.name,
        task=task.name,
        classes=task.classes,
        student=scope.student,
        period=period,
        windows=_windows(session, scope),
        state=state_of(task.name, scope.student, overall, known.verdict, own_alarms, coverage, students),
        problems=tuple(_problems(scope, known, traffic, coverage)),
        coverage=coverage,
        slices=tuple(lines),
        curves=tuple(_curves(known, shown)),
        course=course_of(
            session, task, scope.student, students, period, _window_seconds(scope), shown, known.alarms,
            known.stages, traffic.epochs,
        ),
        disagreements=_disagreements(session, scope, shown, with_texts),
        alarms=known.alarms,
        alarms_in_period=known.alarms_in_period,
        jobs=tuple(job_lines(session, task.name, period)),
        stages=tuple(line for line in known.stages if period.holds(line.at_us)),
        epochs=traffic.epochs,
        students=tuple(students),
    )  # fmt: skip


def _student(session: Session, task: str, asked: str | None, students: Sequence[StudentLine]) -> str | None:
    """The one that was asked for; else the one that serves, answers, or answered last. Raises UnknownStudent."""
    measured = students_with_sums(session, task)
    names = [student.artifact for student in students]
    if asked is not None:
        if asked not in (*names, *measured):
            known = ", ".join(dict.fromkeys([*names, *measured])) or "none yet"
            raise UnknownStudent(f"task {task} has no student {asked!r}; it has {known}")
        return asked
    stages = task_stages(session, task)
    serving = [stages.serving[0]] if stages.serving else []
    answering = [name for name in names if name in stages.answering]
    return next(iter([*serving, *answering, *(name for name in names if name in measured), *measured]), None)


def _known(session: Session, scope: Scope, students: Sequence[StudentLine]) -> Known:
    alarms, alarms_in_period = alarm_lines(session, scope.task.name, scope.period)
    sums = _sums(session, scope)
    registered = next((line for line in students if line.artifact == scope.student), None)
    return Known(
        students=tuple(students),
        registered=registered,
        stages=tuple(stage_lines(session, scope.task.name)),
        alarms=tuple(alarms),
        alarms_in_period=alarms_in_period,
        sums=sums,
        verdict=judge_live(sums, scope.task, thresholds_of(registered)),
    )


def _sums(session: Session, scope: Scope) -> dict[str, SliceSums]:
    """Slices without a pair in the period (labels alone arrived) are left out."""
    if scope.student is None:
        return {}
    period = scope.period
    sums = merged_sums(session, scope.task.name, scope.student, period.since_us, period.until_us)
    return {name: of_slice for name, of_slice in sums.items() if of_slice.pairs > 0}


def _traffic(session: Session, scope: Scope, known: Known) -> tuple[Traffic, Coverage]:
    directory = scope.configuration.deployment.data_directory
    answering = answering_intervals(known.stages, scope.student, known.registered is not None)
    traffic = read_traffic(directory, scope.task, scope.student, answering, scope.period, _positions(session))
    unusable = _unusable(session)
    return traffic, coverage_of(directory, scope.task.name, scope.student, scope.period, traffic, unusable)


def _positions(session: Session) -> dict[str, int]:
    """By gateway, the last answer that the monitor has read."""
    rows = session.exec(select(CursorRow).where(CursorRow.reader == PROCESS))
    return {row.source.removeprefix("answers:"): row.position for row in rows if ":" in row.source}


def _unusable(session: Session) -> dict[str, int]:
    row = session.get(HeartbeatRow, PROCESS)
    counts = row.report.get("unusable", {}) if row is not None else {}
    return dict(sorted(counts.items(), key=lambda entry: -entry[1]))


def _slices(session: Session, scope: Scope, known: Known, traffic: Traffic) -> list[SliceLine]:
    lines = slice_lines(
        known.sums,
        scope.task,
        known.verdict,
        known.thresholds,
        traffic.slices,
        [alarm.slice for alarm in known.alarms_of(scope.student)],
    )
    shown = with_statistics(
        lines[:SLICES_SHOWN], known.sums, _reference(session, scope), len(scope.task.classes)
    )
    return [*shown, *lines[SLICES_SHOWN:]]


def _reference(session: Session, scope: Scope) -> Mapping[str, Mapping[str, Any]]:
    """By slice, what the student's manifest keeps of the rows that judged it."""
    row = session.get(StudentRow, scope.student) if scope.student else None
    manifest = manifest_of(scope.configuration.deployment.data_directory, row) if row else ""
    return manifest.reference if isinstance(manifest, Manifest) else {}


def _curves(known: Known, shown: Sequence[str]) -> Iterator[SliceCurves]:
    most = known.registered.max_disagreement if known.registered else None
    for name in shown[:CURVES_SHOWN]:
        yield slice_curves(name, known.sums[name], known.thresholds.get(name), most)


def _disagreements(session: Session, scope: Scope, shown: Sequence[str], with_texts: bool) -> Disagreements:
    if scope.student is None:
        return Disagreements(0, 0)
    directory = scope.configuration.deployment.data_directory
    slices = [name for name in shown if name != OVERALL]
    return find_disagreements(session, directory, scope.task, scope.student, scope.period, slices, with_texts)


def _window_seconds(scope: Scope) -> int:
    return scope.configuration.monitor.window_seconds


def _windows(session: Session, scope: Scope) -> Windows:
    seconds, period = _window_seconds(scope), scope.period
    starts = list(
        sums_over_time(
            session, scope.task.name, scope.student or "", OVERALL, period.since_us, period.until_us
        )
    )
    return Windows(
        window_seconds=seconds,
        count=len(starts),
        first_start_us=starts[0] if starts else None,
        last_end_us=starts[-1] + seconds * 1_000_000 if starts else None,
    )


def _problems(scope: Scope, known: Known, traffic: Traffic, coverage: Coverage) -> Iterator[str]:
    for problem in traffic.unreadable_files.values():
        yield f"{problem}; its exchanges are missing below"
    counted = {gateway.gateway for gateway in coverage.gateways}
    for path in exchange_paths(scope.configuration.deployment.data_directory):
        if path.stem not in counted:
            yield f"what {path.name} lost cannot be counted, so the coverage may be too high"
    if known.registered is not None and known.registered.problem is not None:
        yield f"the manifest of {scope.student} is not used: {known.registered.problem}"
    for alarm in known.alarms:
        if alarm.replay is not None and not alarm.replay.is_same:
            found, replayed = dict(alarm.replay.found), dict(alarm.replay.replayed)
            yield f"alarm {alarm.id} does not follow from its receipt: {replayed} instead of {found}"
    if coverage.unfolded_share > MOST_UNFOLDED:
        yield f"the monitor has not looked at {coverage.unfolded_answers:,} answers yet; see that it runs"
