"""How much of the traffic each student has answered in shadow, by slice: what its measured divergence rests on.

`eligible = answered + skipped{reason} + waiting` holds for every student at any moment.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from gateway.captured import Built
from ledger.slices import SliceRule, Subject, slices_of

MAX_SLICES = 50  # of a student; what further slices hold is counted under OTHER
OTHER = "other"


@dataclass(slots=True)
class Count:
    """Exchanges of one slice; one with several inputs belongs to the slices of all of them."""

    eligible: int = 0
    answered: int = 0


@dataclass(slots=True)
class StudentCoverage:
    slices: dict[str, Count] = field(default_factory=dict)
    skipped: Counter[str] = field(default_factory=Counter)

    def count_of(self, name: str) -> Count:
        count = self.slices.get(name)
        if count is None:
            name = name if len(self.slices) < MAX_SLICES else OTHER
            count = self.slices.setdefault(name, Count())
        return count


class Ticket(NamedTuple):
    """One exchange that one student owes an answer to; exactly one of the two is called once."""

    coverage: StudentCoverage
    counts: tuple[Count, ...]

    def answered(self) -> None:
        for count in self.counts:
            count.answered += 1

    def skipped(self, reason: str) -> None:
        self.coverage.skipped[reason] += 1


class Coverage:
    """Belongs to the event loop. Since the start of this process."""

    def __init__(self) -> None:
        self._students: dict[tuple[str, str], StudentCoverage] = {}  # (task, artifact)

    def eligible(self, task: str, artifact: str, slices: Sequence[str]) -> Ticket:
        """Count an exchange that the student ought to answer."""
        coverage = self._students.get((task, artifact))
        if coverage is None:
            coverage = self._students[task, artifact] = StudentCoverage()
        counts = [coverage.count_of(name) for name in slices]
        if len(coverage.slices) > MAX_SLICES:  # several of its slices may be OTHER
            counts = list({id(count): count for count in counts}.values())
        for count in counts:
            count.eligible += 1
        return Ticket(coverage, tuple(counts))

    def __iter__(self) -> Iterator[tuple[str, str, StudentCoverage]]:
        return ((task, artifact, coverage) for (task, artifact), coverage in self._students.items())

    def document(self) -> list[dict[str, Any]]:
        """Plain values, one entry for each student of each task."""
        return [
            {
                "task": task,
                "artifact": artifact,
                "skipped": {str(reason): count for reason, count in coverage.skipped.items()},
                "slices": {name: [c.eligible, c.answered] for name, c in coverage.slices.items()},
            }
            for task, artifact, coverage in self
        ]


def slices_of_exchange(built: Built, rules: Sequence[SliceRule], classes: Sequence[str]) -> Sequence[str]:
    """The slices of all its inputs; those that hold for the request as a whole where these could not be read."""
    exchange = built.exchange
    if not exchange.input_words:
        whole = [rule for rule in rules if rule.holds_for_all_inputs]
        return slices_of(whole, Subject(exchange.attributes, 0, at_us=exchange.started_at_us))
    names = [slices_of(rules, _subject(built, index, classes)) for index in range(len(exchange.input_words))]
    return names[0] if len(names) == 1 else tuple(dict.fromkeys(name for some in names for name in some))


def _subject(built: Built, index: int, classes: Sequence[str]) -> Subject:
    exchange = built.exchange
    teacher = exchange.teacher[index] if index < len(exchange.teacher) else None
    top = classes[teacher.top] if teacher is not None and teacher.probabilities is not None else None
    words, text = exchange.input_words[index], built.texts[index]
    return Subject(exchange.attributes, words, top, text, exchange.started_at_us)
