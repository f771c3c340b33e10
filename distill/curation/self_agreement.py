"""How often the teacher agrees with itself about the same input: no student can agree with it more often."""

from dataclasses import dataclass

from monitor.intervals import INTERVAL_ALPHA, lower_bound, upper_bound


@dataclass(frozen=True, slots=True)
class SelfAgreement:
    """Inputs, equal to the byte, that the teacher answered at least twice, and how many of the first two answers
    name the same class. One pair an input: however popular it is, it counts once."""

    inputs: int
    agreements: int

    @property
    def share(self) -> float | None:
        return self.agreements / self.inputs if self.inputs else None

    @property
    def low(self) -> float:
        """Clopper-Pearson, with `high` an interval of 95 %."""
        return lower_bound(self.agreements, self.inputs, INTERVAL_ALPHA / 2)

    @property
    def high(self) -> float:
        return upper_bound(self.agreements, self.inputs, INTERVAL_ALPHA / 2)


UNKNOWN = SelfAgreement(0, 0)


class FirstTwoAnswers:
    """Counts while a record is read."""

    def __init__(self) -> None:
        self._first: dict[str, int] = {}  # digest -> class of the first answer
        self._agrees: dict[str, bool] = {}  # digest -> whether the second was the same

    def saw(self, digest: str, top: int) -> None:
        first = self._first.setdefault(digest, -1)
        if first < 0:
            self._first[digest] = top
        else:
            self._agrees.setdefault(digest, first == top)

    def found(self) -> SelfAgreement:
        return SelfAgreement(len(self._agrees), sum(self._agrees.values()))
