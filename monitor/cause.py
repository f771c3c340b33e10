"""What an alarm says moved: the input, the teacher, the student or serving; each may also stand still or be unknown."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from monitor.answerers_moved import student_finding, teacher_finding
from monitor.findings import Facts, Finding, Outcome, Source
from monitor.input_moved import features_of, input_finding
from monitor.serving_moved import serving_finding
from monitor.training_window import TrainingWindow

FORMAT = 1  # of the JSON form
UNATTRIBUTED = (
    "unattributed: nothing that is looked at moved with the change; the student decays, because the teacher answers"
    " the same kind of input otherwise by now or because the student never knew these inputs"
)


class Place(NamedTuple):
    """Of an alarm: its stream in its task."""

    task: str
    artifact: str
    slice: str
    harm: str


@dataclass(frozen=True, slots=True)
class Cause:
    """What an alarm says moved."""

    summary: str
    findings: tuple[Finding, ...]
    window: TrainingWindow | None
    change_us: int | None
    problems: tuple[str, ...] = ()
    format: int = FORMAT

    @property
    def moved(self) -> tuple[Source, ...]:
        return tuple(finding.source for finding in self.findings if finding.outcome is Outcome.MOVED)

    def plain(self) -> dict[str, Any]:
        return {**asdict(self), "moved": self.moved}


Causes = Mapping[Place, Cause]


def cause_of(facts: Facts) -> Cause:
    """Every source is looked at; the summary names those that moved, or says that none did."""
    student, serving = student_finding(facts), serving_finding(facts)
    features = features_of(facts)
    given = input_finding(facts, features, student.outcome is Outcome.MOVED)
    findings = (teacher_finding(facts, features, given), student, serving, given)
    return Cause(summary_of(findings), findings, facts.window, facts.change_us, tuple(facts.problems))


def in_short(cause: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Of a stored cause, what is told where there is no room for all of it."""
    return None if cause is None else {name: cause[name] for name in ("summary", "moved")}


def unexplained(reason: str) -> Cause:
    """Of an alarm that nobody could look into."""
    return Cause(f"not looked into: {reason}", (), None, None)


def summary_of(findings: Sequence[Finding]) -> str:
    """One sentence for people who read no further."""
    moved = [finding.sentence for finding in findings if finding.outcome is Outcome.MOVED]
    if moved:
        return "; ".join(moved)
    earlier = [finding.sentence for finding in findings if finding.outcome is Outcome.MOVED_EARLIER]
    unknown = [str(finding.source) for finding in findings if finding.outcome is Outcome.UNKNOWN]
    parts = [UNATTRIBUTED, *earlier]
    parts += [f"too little was there to look at: {', '.join(unknown)}"] if unknown else []
    return "; ".join(parts)
