"""The false-alarm budget in the operator's words, its shares for the streams, and what an alarm leads to."""

import math
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from ledger.alarms import LABELS_MOVED
from ledger.configuration import TriggerSection
from ledger.harms import Harm

Slice = tuple[str, str]  # artifact, slice


class Stream(NamedTuple):
    """What one detector watches."""

    artifact: str
    slice: str
    harm: Harm = Harm.DISAGREEMENT


RESERVED_SHARE = 0.1  # of a tick's restart mass, for streams that show up during the tick
NEW_STREAMS = 32  # that the reserve is divided by; further ones begin with the next tick


class Decision(StrEnum):
    """What an alarm led to, or why it opened no job."""

    JOB_OPENED = "job_opened"
    JOB_ALREADY_OPEN = "job_already_open"
    LAUNCH_OFF = "launch_off"  # trigger.launch = false
    NOT_LICENSED = "not_licensed"  # no licence entry permits distillation
    NOT_DISTILLABLE = "not_distillable"  # the last job found that nothing would come of another
    NEWER_STUDENT = "newer_student"  # a later student answers already: it is the one to judge
    COOLDOWN = "cooldown"  # a job of the task ended too recently
    LABELS_MOVED = LABELS_MOVED  # refused: other pairs are labelled than those that the null was learnt from
    SETTLING = "settling"  # the successor has answered too few inputs of the slice to be replaced as well


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What decides whether an alarm opens a job."""

    open_job: int | None
    last_job_finished_us: int | None
    newer_student: str | None  # answers too, and was registered after the one that the alarm is about
    licensed: bool
    pairs: int  # of the slice, that the student has answered so far
    after_alarm: bool = False  # the last job came from an alarm
    not_distillable: str | None = None  # why no job shall be opened for the task
    labels_moved: str | None = None  # why an alarm on labels is refused


def decide(trigger: TriggerSection, circumstances: Circumstances, now_us: int) -> tuple[Decision, str]:
    """The decision about one alarm, with its reason in a sentence."""
    if circumstances.labels_moved is not None:
        return Decision.LABELS_MOVED, circumstances.labels_moved
    if circumstances.open_job is not None:
        return Decision.JOB_ALREADY_OPEN, f"job {circumstances.open_job} is open"
    if not trigger.launch:
        return Decision.LAUNCH_OFF, "trigger.launch is false; open a job by hand"
    if not circumstances.licensed:
        return Decision.NOT_LICENSED, "the task has no licence entry that permits distillation"
    if circumstances.not_distillable is not None:
        return Decision.NOT_DISTILLABLE, circumstances.not_distillable
    if circumstances.newer_student is not None:
        return Decision.NEWER_STUDENT, f"the newer student {circumstances.newer_student} answers already"
    finished = circumstances.last_job_finished_us
    if finished is not None and now_us - finished < trigger.cooldown_seconds * 1e6:
        ago = (now_us - finished) / 1e6
        return Decision.COOLDOWN, (
            f"a job ended {ago:.0f} s ago; trigger.cooldown_seconds is {trigger.cooldown_seconds:.0f}"
        )
    if circumstances.after_alarm and circumstances.pairs < trigger.reference_pairs:
        return Decision.SETTLING, (
            f"since the job of the last alarm the slice has {circumstances.pairs} pairs;"
            f" trigger.reference_pairs is {trigger.reference_pairs}"
        )
    return Decision.JOB_OPENED, "no job is open and the cooldown is over"


def log_threshold(false_alarms: float, period_days: float, tick_seconds: float) -> float:
    """log A: restart mass of one period, at most 1 a tick, over the false alarms allowed in it."""
    return math.log(period_days * 86_400 / tick_seconds / false_alarms)


def tick_mass(elapsed_seconds: float | None, tick_seconds: float) -> float:
    """Restart mass of a tick: 1, less when ticks follow faster than planned, as in working off a backlog."""
    if elapsed_seconds is None:
        return 1.0
    return min(1.0, max(0.0, elapsed_seconds / tick_seconds))


def stream_masses(known: Collection[Stream], new: Collection[Stream], mass: float) -> dict[Stream, float]:
    """Divide a tick's restart mass over its streams; together at most `mass`.

    Known streams share 1 - RESERVED_SHARE equally. A new one gets a fixed part of the reserve, so that what a
    stream may spend never depends on what the tick showed about it.
    """
    masses = {stream: mass * (1 - RESERVED_SHARE) / len(known) for stream in known}
    for rank, stream in enumerate(sorted(set(new) - set(known))):
        masses[stream] = mass * RESERVED_SHARE / NEW_STREAMS if rank < NEW_STREAMS else 0.0
    return masses
