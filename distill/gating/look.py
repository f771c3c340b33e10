"""One look at one candidate: its answers to the locked rows, and what else stands beside them to be compared with."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from distill.curation.rows import Row
from distill.curation.split import GateRow
from distill.gating.answers import Answers
from distill.gating.behaviour import BehaviourTest
from distill.gating.mix import Pattern
from ledger.configuration import TaskSection
from ledger.observation import Observation
from ledger.slices import OVERALL
from monitor.pairs import Pair

AskTeacher = Callable[
    [Sequence[str]], Sequence[Observation | None]
]  # None: not asked, the day's calls are spent


@dataclass(frozen=True, slots=True)
class Beside:
    """What a candidate is judged beside; what is missing is not judged, and the report says so."""

    incumbent: Answers | None = (
        None  # on rows that it may have learnt from: it looks better than it is, never worse
    )
    original: Answers | None = None  # the artifact that a quantized one was made from
    labels: Mapping[str, int] = field(default_factory=dict)  # digest of a row -> its verified class
    patterns: Sequence[Pattern] = ()  # of the traffic, the most frequent first
    behaviour: Sequence[BehaviourTest] = ()
    ask_teacher: AskTeacher | None = None


ALONE = Beside()


@dataclass(frozen=True)
class Look:
    """The locked rows as the candidate answered them, in the order of the rows; a failed answer disagrees."""

    task: TaskSection
    alpha: float  # of this look: the gate's, over the looks that were planned
    student: Answers
    entries: tuple[GateRow, ...]
    answers: tuple[Observation, ...]
    beside: Beside

    @cached_property
    def pairs(self) -> tuple[Pair, ...]:
        return tuple(_pair(entry, answer) for entry, answer in zip(self.entries, self.answers, strict=True))

    @cached_property
    def members(self) -> Mapping[str, tuple[int, ...]]:
        """Places of the rows whose statistics each slice may take; the overall slice has those drawn whatever
        their slice."""
        found: dict[str, list[int]] = {}
        for place, entry in enumerate(self.entries):
            for name in entry.slices(self.task.rules):
                found.setdefault(name, []).append(place)
        return {name: tuple(places) for name, places in sorted(found.items())}

    @property
    def drawn(self) -> tuple[int, ...]:
        return self.members.get(OVERALL, ())

    @cached_property
    def incumbent(self) -> tuple[Observation, ...] | None:
        return None if self.beside.incumbent is None else answered(self.beside.incumbent, self.entries)

    @cached_property
    def original(self) -> tuple[Observation, ...] | None:
        return None if self.beside.original is None else answered(self.beside.original, self.entries)

    @cached_property
    def labels(self) -> tuple[int | None, ...]:
        return tuple(self.beside.labels.get(entry.row.digest) for entry in self.entries)


def look_at(
    student: Answers, entries: Sequence[GateRow], task: TaskSection, alpha: float, beside: Beside = ALONE
) -> Look:
    return Look(task, alpha, student, tuple(entries), answered(student, entries), beside)


def answered(student: Answers, entries: Sequence[GateRow]) -> tuple[Observation, ...]:
    """In front of a caller a failed answer falls back; on the gate it must not pass for agreement."""
    observations = student.answer([entry.row.text for entry in entries])
    return tuple(
        observation if observation.probabilities is not None else _wrong(entry.row.teacher)
        for entry, observation in zip(entries, observations, strict=True)
    )


def _wrong(teacher: Observation) -> Observation:
    assert teacher.probabilities is not None
    wrong = (teacher.top + 1) % len(teacher.probabilities)
    return Observation(tuple(float(index == wrong) for index in range(len(teacher.probabilities))))


def _pair(entry: GateRow, student: Observation) -> Pair:
    row: Row = entry.row
    return Pair(
        exchange_id=row.exchange_id,
        input_index=row.input_index,
        artifact="",
        at_us=row.at_us,
        slices=row.slices,
        teacher=row.teacher,
        student=student,
        input_digest=row.digest,
        words=row.words,
    )
