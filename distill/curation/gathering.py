"""Arrivals of the same text become one row: the teacher's answers averaged, the arrivals counted."""

from collections import Counter
from collections.abc import Container
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import NamedTuple

from distill.curation.rows import Row, Source
from distill.curation.texts import exact_key
from ledger.configuration import TaskSection
from ledger.observation import Observation
from ledger.slices import Subject, slices_of

MOST_PRINCIPALS = 6  # of a row that are told apart: what more callers send is nobody's own


class LabelUse(StrEnum):
    """What became of verified labels, in rows."""

    VERIFIED = "verified"  # the row has a true class
    TEACHER_WRONG = "teacher_wrong"  # of these, those where the teacher says another one
    CONTRADICTING = "contradicting"  # labels of the same text differ: the row has none
    UNKNOWN_CLASS = "unknown_class"  # a label is no class of the task


class Arrival(NamedTuple):
    """One input of one exchange, usable."""

    digest: str
    exchange_id: str
    input_index: int
    at_us: int
    text: str
    subject: Subject
    words: int
    answers: tuple[Observation, ...]  # of the teacher: its answer and, where it was asked again, the second
    inclusion: float
    is_live: bool
    principal: str
    label: str | None


@dataclass(slots=True)
class _Gathered:
    first: Arrival
    sums: list[float]
    other: float = 0.0
    hard: bool = True
    answers: int = 0
    repeats: int = 0
    expected: float = 0.0  # arrivals, those included whose answer nobody asked for
    live: float = 0.0
    digests: set[str] = field(default_factory=set)
    principals: set[str] = field(default_factory=set)
    labels: Counter[str] = field(default_factory=Counter)


class Gathering:
    """Rows while a record is read."""

    def __init__(self) -> None:
        self._by_key: dict[str, _Gathered] = {}

    def __contains__(self, key: object) -> bool:
        return key in self._by_key

    def add(self, arrival: Arrival) -> bool:
        """Whether the text is new."""
        key = exact_key(arrival.text)
        known = self._by_key.get(key)
        if known is None:
            width = len(arrival.answers[0].probabilities or ())
            known = self._by_key[key] = _Gathered(arrival, [0.0] * width)
        elif _order(arrival) < _order(known.first):
            known.first = arrival
        _count(known, arrival)
        return known.repeats == 1

    def rows(
        self, task: TaskSection, source: Source = Source.TRAFFIC, but: Container[str] = ()
    ) -> tuple[tuple[Row, ...], Counter[str]]:
        """In order of arrival, without texts of `but`; and what became of their labels."""
        use: Counter[str] = Counter()
        found = [gathered for key, gathered in self._by_key.items() if key not in but]
        found.sort(key=lambda gathered: _order(gathered.first))
        return tuple([_row(gathered, task, source, use) for gathered in found]), use


def _order(arrival: Arrival) -> tuple[int, str, int]:
    return arrival.at_us, arrival.exchange_id, arrival.input_index


def _count(known: _Gathered, arrival: Arrival) -> None:
    for answer in arrival.answers:
        for place, probability in enumerate(answer.probabilities or ()):
            known.sums[place] += probability
        known.other += answer.other
        known.hard = known.hard and answer.hard
    known.answers += len(arrival.answers)
    known.repeats += 1
    known.digests.add(arrival.digest)
    known.expected += 1 / arrival.inclusion
    known.live += arrival.is_live / arrival.inclusion
    if len(known.principals) < MOST_PRINCIPALS:
        known.principals.add(arrival.principal)
    if arrival.label is not None:
        known.labels[arrival.label] += 1


def _row(gathered: _Gathered, task: TaskSection, source: Source, use: Counter[str]) -> Row:
    first, teacher = gathered.first, _mean(gathered)
    return Row(
        digest=first.digest,
        exchange_id=first.exchange_id,
        input_index=first.input_index,
        at_us=first.at_us,
        text=first.text,
        teacher=teacher,
        slices=slices_of(task.rules, replace(first.subject, teacher_class=task.classes[teacher.top])),
        inclusion=gathered.repeats / gathered.expected,
        repeats=gathered.repeats,
        words=first.words,
        live=gathered.live,
        truth=_truth(gathered.labels, task.classes, teacher.top, use),
        principals=tuple(sorted(gathered.principals)),
        voted=gathered.hard and gathered.answers > 1,
        also=tuple(sorted(gathered.digests - {first.digest})),
        source=source,
    )


def _mean(gathered: _Gathered) -> Observation:
    """Of probabilities, or the share of votes where the teacher only names classes."""
    if gathered.answers == 1:
        return gathered.first.answers[0]
    mean = tuple([total / gathered.answers for total in gathered.sums])
    unanimous = gathered.hard and max(mean) == 1.0
    return Observation(mean, hard=unanimous, other=gathered.other / gathered.answers)


def _truth(labels: Counter[str], classes: tuple[str, ...], top: int, use: Counter[str]) -> int | None:
    known = [label for label in labels if label in classes]
    use[LabelUse.UNKNOWN_CLASS] += len(labels) > len(known)
    use[LabelUse.CONTRADICTING] += len(known) > 1
    if len(known) != 1:
        return None
    truth = classes.index(known[0])
    use[LabelUse.VERIFIED] += 1
    use[LabelUse.TEACHER_WRONG] += truth != top
    return truth
