"""Rows to learn from and to be judged on: distinct texts with what the pinned teacher answered, and nothing else.

Rows answered by a student are never targets: a student that learns from students forgets the teacher.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from distill.curation.self_agreement import UNKNOWN, SelfAgreement
from distill.curation.window import EVERYTHING, Window
from ledger.observation import Observation

ANONYMOUS = ""  # the principal of exchanges that do not say whose they are


class Unusable(StrEnum):
    """Why an input of an exchange is no row."""

    INCOMPLETE = "incomplete"  # the response was cut or failed
    NOT_ASKED = "not_asked"  # the student answered alone
    OTHER_TEACHER = "other_teacher"  # answered by a version that is not the pinned one
    BEFORE_TEACHER_CHANGE = "before_teacher_change"  # by the pinned version, before it was seen to change
    NO_DISTRIBUTION = "no_distribution"  # the teacher's answer could not be read as one
    MOSTLY_OTHER = "mostly_other"  # most of the teacher's answer names none of the task's classes
    TEXT_NOT_KEPT = "text_not_kept"  # the task captures no inputs
    OUT_OF_WINDOW = "out_of_window"  # it came before the stretch that is learned from
    REPEATED = "repeated"  # the same text came before; its row counts it


class Source(StrEnum):
    """Where a row comes from."""

    TRAFFIC = "traffic"  # the window of the record
    REPLAY = "replay"  # the record before it: an earlier student of this task learned from it
    IMPORTED = "imported"  # a person brought it


@dataclass(frozen=True, slots=True)
class Row:
    """One distinct text with the teacher's answer."""

    digest: str  # of the text: the row's identity in every split
    exchange_id: str
    input_index: int
    at_us: int
    text: str
    teacher: Observation  # the mean of its answers, where it answered more than once
    slices: tuple[str, ...]
    inclusion: float  # probability with which the teacher was asked
    repeats: int  # how often the text came
    words: int = 0
    emphasis: float = 1.0  # what curation multiplies its natural weight by: distill.curation.weighing
    live: float = 0.0  # how often it came in the live stretch, by inclusion
    truth: int | None = None  # the class that verified labels agree on
    principals: tuple[str, ...] = ()  # pseudonyms of those who sent it, the first MOST_PRINCIPALS
    voted: bool = False  # the teacher only names classes, and the mean is of its votes
    group: str = ""  # digest of the first of its near-duplicates; rows of a group stay in one part
    also: tuple[str, ...] = ()  # digests of the other texts that this row stands for
    source: Source = Source.TRAFFIC

    @property
    def digests(self) -> tuple[str, ...]:
        """Of every text that it stands for."""
        return (self.digest, *self.also)

    @property
    def natural_weight(self) -> float:
        """Rows asked about rarely stand for more of the traffic; repeats count by their square root."""
        return math.sqrt(self.repeats) / self.inclusion

    @property
    def weight(self) -> float:
        """In training, all told."""
        return self.emphasis * self.natural_weight

    @property
    def group_id(self) -> str:
        return self.group or self.digest


@dataclass(frozen=True, slots=True)
class Ingested:
    rows: tuple[Row, ...]  # in order of arrival
    unusable: Mapping[str, int]
    replay: tuple[Row, ...] = ()  # of earlier jobs, from before the window
    window: Window = EVERYTHING
    agreement: SelfAgreement = UNKNOWN
    labels: Mapping[str, int] = field(default_factory=dict)  # distill.curation.gathering.LabelUse
