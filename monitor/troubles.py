"""What went wrong on the way of exchanges: counts by reason, and which reasons became more frequent."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ledger.answer_pages import NOTHING, Answered, decoded, plain
from ledger.exchange import Outcome, Unpaired
from monitor.intervals import difference_bounds, holm, more_often_p_value

UNANSWERED = "student_unanswered"  # it was asked too late, refused, or timed out
NO_TROUBLE = (Unpaired.NOT_ASKED, Unpaired.INCOMPLETE)  # no fault, or told by the outcome already
LEAST_RISE = 0.01  # of the exchanges; less explains no alarm


@dataclass(frozen=True, slots=True)
class Trouble:
    """One reason on both sides of a change."""

    reason: str
    then: int  # exchanges with it ...
    of_then: int  # ... of so many
    now: int
    of_now: int
    least: float  # bounds of the rise
    most: float
    p_value: float
    rose: bool

    @property
    def rise(self) -> float:
        return self.now / self.of_now - self.then / self.of_then


def troubles_of(rows: Sequence[Answered]) -> dict[str, int]:
    """Exchanges by reason; one may have several. Those after the last that the student answered may still wait."""
    last = max((place for place, row in enumerate(rows) if row.observations != NOTHING), default=-1)
    counts: Counter[str] = Counter()
    teacher = decoded([row.teacher for row in rows])
    student = decoded([row.observations for row in rows])
    for place, row in enumerate(rows):
        reasons = {*_path(row, place < last)}
        reasons |= {*_words("teacher", teacher[place]), *_words("student", student[place])}
        counts.update(reasons)
    return dict(counts)


def _path(row: Answered, may_miss: bool) -> Iterator[str]:
    if row.outcome != Outcome.COMPLETE:
        yield row.outcome
    elif row.unpaired is not None and row.unpaired not in NO_TROUBLE:
        yield row.unpaired
    elif may_miss and row.observations == NOTHING and row.teacher != NOTHING:
        yield UNANSWERED


def _words(side: str, observations: list[Any]) -> Iterator[str]:
    return (f"{side}_{error}" for error in plain(observations) if isinstance(error, str))


def risen(
    then: Mapping[str, int], of_then: int, now: Mapping[str, int], of_now: int, alpha: float
) -> list[Trouble]:
    """Every reason, those that rose first: by at least LEAST_RISE, and more than chance (Holm over all reasons)."""
    if not of_then or not of_now:
        return []
    reasons = sorted({*then, *now})
    counts = [(then.get(reason, 0), of_then, now.get(reason, 0), of_now) for reason in reasons]
    p_values = [more_often_p_value(*some) for some in counts]
    found = [
        _trouble(reason, some, p_value, is_sure, alpha)
        for reason, some, p_value, is_sure in zip(
            reasons, counts, p_values, holm(p_values, alpha), strict=True
        )
    ]
    return sorted(found, key=lambda trouble: (not trouble.rose, -trouble.rise, trouble.reason))


def _trouble(
    reason: str, counts: tuple[int, int, int, int], p_value: float, is_sure: bool, alpha: float
) -> Trouble:
    then, of_then, now, of_now = counts
    least, most = difference_bounds(*counts, alpha)
    rose = is_sure and now / of_now - then / of_then >= LEAST_RISE
    return Trouble(reason, then, of_then, now, of_now, least, most, p_value, rose)
