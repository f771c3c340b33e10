"""What looking at one possible source of an alarm showed, and all that is looked at."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from monitor.runtimes import Runtime
from monitor.sides import Side
from monitor.sums import SliceSums
from monitor.training_window import TrainingWindow

NEAR_US = 15 * 60 * 1_000_000  # what happened so shortly before the change may have caused it


class Source(StrEnum):
    """Where a cause may lie, the surest to be told first."""

    TEACHER = "teacher"
    STUDENT = "student"
    SERVING = "serving"
    INPUT = "input"


class Outcome(StrEnum):
    """What can be said of one source."""

    MOVED = "moved"  # with the change
    MOVED_EARLIER = "moved_earlier"  # since the student's gate, not with the change
    STILL = "still"  # nothing that is looked at moved
    UNKNOWN = "unknown"  # too little was there to look at


@dataclass(frozen=True, slots=True)
class Finding:
    """What looking at one source showed."""

    source: Source
    outcome: Outcome
    sentence: str
    evidence: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Facts:
    """All that causes are told from."""

    classes: Sequence[str]
    change_us: int
    before: Side
    after: Side
    reference: SliceSums | None  # of the slice's rows at the student's gate
    learnt_version: str | None  # of the teacher, when the student was trained
    runtimes: Sequence[Runtime]  # that the student's process has reported, in order of time
    gate_runtime: str | None  # version of ONNX Runtime that the gate ran on
    window: TrainingWindow
    problems: Sequence[str] = ()
