"""What the gate asks of a student: answers to texts."""

from collections.abc import Sequence
from typing import Protocol

from ledger.observation import Observation


class Answers(Protocol):
    """Whatever answers texts as the student process would."""

    def answer(self, texts: Sequence[str]) -> Sequence[Observation]: ...
