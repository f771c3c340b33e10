"""Fidelity and divergence over time: the kept windows, merged into a few dozen bins, and what happened meanwhile."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from sqlmodel import Session

from ledger.configuration import TaskSection
from ledger.slices import OVERALL, rule_of
from monitor.intervals import INTERVAL_ALPHA, confidence_sequence
from monitor.reports import sums_over_time
from monitor.sums import SliceSums, merged
from stillgate.report.history import AlarmLine, StageLine, StudentLine
from stillgate.report.period import Period
from stillgate.report.traffic import Epoch

MOST_BINS = 60
STUDENTS_IN_TIME = 4  # the newest
SLICES_IN_TIME = 8
_WIDTHS = (
    1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400, 172_800,
    604_800, 1_209_600, 2_419_200,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Point:
    """Pairs whose exchanges started in one bin of time."""

    start_us: int
    end_us: int
    pairs: int
    agreements: int
    fidelity: float
    fidelity_low: float  # 95 %, as in the slice table
    fidelity_high: float
    divergence_bits: float


@dataclass(frozen=True, slots=True)
class Line:
    """One slice of one student over time; bins without pairs have no point."""

    artifact: str
    slice: str
    bar: float | None
    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that happened at a moment."""

    kind: Literal["alarm", "stage", "epoch"]
    at_us: int
    text: str
    artifact: str | None
    slice: str | None


@dataclass(frozen=True, slots=True)
class Course:
    """`overall` has every student of the task, `slices` the student of the report alone."""

    bin_seconds: int
    overall: tuple[Line, ...]
    slices: tuple[Line, ...]
    marks: tuple[Mark, ...]


def course_of(
    session: Session,
    task: TaskSection,
    student: str | None,
    students: Sequence[StudentLine],
    period: Period,
    window_seconds: int,
    slices: Sequence[str],
    alarms: Sequence[AlarmLine],
    stages: Sequence[StageLine],
    epochs: Sequence[Epoch],
) -> Course:
    """The student of the report beside the newest others, and its first slices in the order given."""

    def kept(artifact: str, name: str) -> dict[int, SliceSums]:
        return sums_over_time(session, task.name, artifact, name, period.since_us, period.until_us)

    overall = {name: kept(name, OVERALL) for name in _drawn(student, students)}
    seconds = bin_seconds([start for windows in overall.values() for start in windows], window_seconds)
    others = [name for name in slices if student is not None and name != OVERALL][:SLICES_IN_TIME]
    return Course(
        bin_seconds=seconds,
        overall=tuple(
            Line(name, OVERALL, task.gate.bar, tuple(points(windows, seconds)))
            for name, windows in overall.items()
        ),
        slices=tuple(
            Line(student or "", name, _bar(task, name), tuple(points(kept(student or "", name), seconds)))
            for name in others
        ),
        marks=tuple(sorted(_marks(alarms, stages, epochs, period), key=lambda mark: mark.at_us)),
    )


def _drawn(student: str | None, students: Sequence[StudentLine]) -> list[str]:
    """The student of the report first, then the newest others."""
    others = [line.artifact for line in students if line.artifact != student]
    return ([student] if student is not None else []) + others[: STUDENTS_IN_TIME - 1]


def _bar(task: TaskSection, slice_name: str) -> float | None:
    rule = rule_of(task.rules, slice_name)
    return None if rule is None else rule.bar


def _marks(
    alarms: Iterable[AlarmLine], stages: Iterable[StageLine], epochs: Iterable[Epoch], period: Period
) -> Iterator[Mark]:
    for alarm in alarms:
        text = f"alarm {alarm.id} on {alarm.slice} of {alarm.artifact}"
        yield Mark("alarm", alarm.at_us, text, alarm.artifact, alarm.slice)
    for stage in stages:
        if period.holds(stage.at_us):
            share = f" with share {stage.share:g}" if stage.stage == "canary" else ""
            yield Mark("stage", stage.at_us, f"{stage.artifact} {stage.stage}{share}", stage.artifact, None)
    for epoch in epochs:
        text = f"first exchange with the teacher {epoch.teacher_epoch}"
        yield Mark("epoch", epoch.first_at_us, text, None, None)


def bin_seconds(starts_us: Iterable[int], window_seconds: int) -> int:
    """A width that gives at most MOST_BINS bins and holds whole windows."""
    starts = list(starts_us)
    if not starts:
        return window_seconds
    span = (max(starts) - min(starts)) / 1e6 + window_seconds
    least = max(window_seconds, span / MOST_BINS)
    width = next((w for w in _WIDTHS if w >= least and w % window_seconds == 0), None)
    return width or -int(-least // window_seconds) * window_seconds


def points(windows: Mapping[int, SliceSums], seconds: int) -> Iterator[Point]:
    """The windows by bin, in order; windows that hold labels alone have no pairs."""
    width = seconds * 1_000_000
    bins: dict[int, list[SliceSums]] = {}
    for start, sums in windows.items():
        bins.setdefault(start // width * width, []).append(sums)
    for start in sorted(bins):
        total = merged(bins[start])
        if total.pairs > 0:
            yield _point(start, start + width, total)


def _point(start_us: int, end_us: int, sums: SliceSums) -> Point:
    low, high = confidence_sequence(sums.agreements, sums.pairs, INTERVAL_ALPHA)
    return Point(
        start_us, end_us, sums.pairs, sums.agreements, sums.fidelity, low, high, sums.mean_divergence_bits
    )
