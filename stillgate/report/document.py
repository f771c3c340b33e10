"""The whole report as one value: what the JSON file holds, and all that the page is drawn from."""

from dataclasses import dataclass

from monitor.drawing.curves import SliceCurves
from stillgate.report.course import Course
from stillgate.report.coverage import Coverage
from stillgate.report.disagreements import Disagreements
from stillgate.report.history import AlarmLine, JobLine, StageLine, StudentLine
from stillgate.report.period import Period
from stillgate.report.slices import SliceLine
from stillgate.report.state import State
from stillgate.report.traffic import Epoch

SCHEMA = "stillgate.report/1"
SLICES_SHOWN = (
    40  # in the page's table, and those whose disagreements are listed; the document has every slice
)
CURVES_SHOWN = 6  # slices that get diagrams


@dataclass(frozen=True, slots=True)
class Windows:
    """Which of the monitor's windows of this student were still there."""

    window_seconds: int
    count: int
    first_start_us: int | None
    last_end_us: int | None


@dataclass(frozen=True, slots=True)
class Report:
    """Times are microseconds since 1970, UTC; shares lie between 0 and 1."""

    schema: str
    made_at_us: int
    deployment: str
    task: str
    classes: tuple[str, ...]
    student: str | None
    period: Period
    windows: Windows
    state: State
    problems: tuple[str, ...]  # what a reader has to know before he trusts the rest
    coverage: Coverage
    slices: tuple[SliceLine, ...]  # every one, in the order of the page
    curves: tuple[SliceCurves, ...]
    course: Course
    disagreements: Disagreements
    alarms: tuple[AlarmLine, ...]
    alarms_in_period: int
    jobs: tuple[JobLine, ...]
    stages: tuple[StageLine, ...]  # changes in the period
    epochs: tuple[Epoch, ...]
    students: tuple[StudentLine, ...]
