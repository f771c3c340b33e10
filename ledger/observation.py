"""What one side, teacher or student, answered to one input: the smallest unit that is ever compared."""

import math
from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

from ledger.spots import NOWHERE

SUM_TOLERANCE = 1e-2  # rounded probabilities of many classes still add up to one within this


class ObservationError(StrEnum):
    """Why there is no distribution to compare."""

    NOT_FINITE = "not_finite"  # NaN or infinity among the probabilities
    OUT_OF_RANGE = "out_of_range"  # a probability below 0 or above 1
    NOT_NORMALISED = "not_normalised"  # they do not sum to one
    WRONG_CLASSES = "wrong_classes"  # a class missing, unknown or twice
    MALFORMED = "malformed"  # the answer could not be read at all
    ABSENT = "absent"  # the answer held fewer outputs than inputs
    STUDENT_FAILED = "student_failed"  # the student raised on this input


class Observation(NamedTuple):
    """Probabilities in the order of the task's classes, or the reason why there are none.

    What the answer gave to no class (words that name none, tokens beyond those listed) is `other`; the
    probabilities are those of the classes given that it is one of them, so they always sum to one. A named
    tuple for the same reason as ledger.exchange.Exchange.
    """

    probabilities: tuple[float, ...] | None
    error: ObservationError | None = None
    hard: bool = False  # the answer named a class and nothing else: one probability is 1, the rest are 0
    other: float = 0.0
    spot: int = NOWHERE  # of the input in the student's embedding: ledger.spots

    @property
    def top(self) -> int:
        """Index of the most probable class, the first one on a tie."""
        assert self.probabilities is not None
        return max(range(len(self.probabilities)), key=self.probabilities.__getitem__)

    @property
    def confidence(self) -> float:
        """Probability of the top class."""
        assert self.probabilities is not None
        return max(self.probabilities)


def hard_label(index: int, class_count: int, other: float = 0.0) -> Observation:
    """A class without probabilities: agreement means the same, a divergence also counts the student's doubt."""
    return Observation(tuple(float(index == place) for place in range(class_count)), None, True, other)


def observe(probabilities: Sequence[float], class_count: int) -> Observation:
    """Accept a distribution over `class_count` classes, or say why it is none."""
    if len(probabilities) != class_count:
        return Observation(None, ObservationError.WRONG_CLASSES)
    if (
        abs(sum(probabilities) - 1) <= SUM_TOLERANCE / 2
        and min(probabilities) >= 0
        and max(probabilities) <= 1
    ):
        return Observation(tuple(probabilities))  # nearly all of them; NaN fails the first comparison
    if not all(map(math.isfinite, probabilities)):
        return Observation(None, ObservationError.NOT_FINITE)
    if min(probabilities) < 0 or max(probabilities) > 1 + 1e-6:
        return Observation(None, ObservationError.OUT_OF_RANGE)
    if abs(math.fsum(probabilities) - 1) > SUM_TOLERANCE:
        return Observation(None, ObservationError.NOT_NORMALISED)
    return Observation(tuple(probabilities))
