"""Students of these tests, whose answers are known beforehand, and gates of rows for them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from distill.curation.split import GateRow
from ledger.configuration import TaskSection
from ledger.observation import Observation, ObservationError
from tests.distill.desk import CERTAIN, build_row


@dataclass(frozen=True)
class Parrot:
    """Says what the text's first letter says, but for the texts that it gets wrong or fails on."""

    wrong: frozenset[str] = frozenset()
    fails: frozenset[str] = frozenset()

    def answer(self, texts: Sequence[str]) -> list[Observation]:
        return [self._one(text) for text in texts]

    def _one(self, text: str) -> Observation:
        if text in self.fails:
            return Observation(None, ObservationError.STUDENT_FAILED)
        right = "b" if text.strip().lower().startswith("b") else "a"
        return CERTAIN[{"a": "b", "b": "a"}[right] if text in self.wrong else right]


def gate_of(task: TaskSection, **counts: int) -> list[GateRow]:
    """So many rows of each area, every text once."""
    return [
        GateRow(replace(row, text=f"{row.text} {area}"), None)
        for area, count in counts.items()
        for number in range(count)
        for row in (build_row(task, number, area, "ab"[number % 2]),)
    ]


def texts_of(rows: Sequence[GateRow]) -> frozenset[str]:
    return frozenset(entry.row.text for entry in rows)
