"""Whether the candidate's confidence, after its temperature, is how often the teacher agrees."""

from collections.abc import Iterator, Sequence

import numpy as np

from distill.gating.bounds import Bools, Floats, adaptive_error_interval
from distill.gating.criterion import Criterion, judged, not_judged
from distill.gating.look import Look
from ledger.artifacts import CriterionVerdict
from ledger.slices import OVERALL
from monitor.verdict import Bar, Known

LEAST_ROWS = 100  # fewer cannot tell a calibration error of a few points from noise


def calibration_rows(look: Look) -> Iterator[CriterionVerdict]:
    """The error over all traffic against the bar; those of slices are told."""
    bar = look.task.criteria.max_calibration_error
    yield _row(look, OVERALL, bar)
    for name, places in look.members.items():
        if name != OVERALL and len(places) >= LEAST_ROWS:
            why = "the bar is one for all traffic" if bar is not None else None
            yield _row(look, name, None, why)


def _row(look: Look, name: str, bar: float | None, why: str | None = None) -> CriterionVerdict:
    known = error_known(look, look.members.get(name, ()))
    if bar is None:
        return not_judged(
            Criterion.CALIBRATION, name, why or "criteria.max_calibration_error is not set", known
        )
    return judged(Criterion.CALIBRATION, name, known, Bar(bar, is_least=False), LEAST_ROWS)


def error_known(look: Look, places: Sequence[int]) -> Known:
    value, low, high = adaptive_error_interval(*confidence_and_hits(look, places), look.alpha)
    return Known(f"calibration error over {len(places)} rows", len(places), value, low, high)


def confidence_and_hits(look: Look, places: Sequence[int]) -> tuple[Floats, Bools]:
    """Of each row, the candidate's confidence and whether the teacher agrees."""
    confidence = np.array([look.answers[place].confidence for place in places], dtype=np.float64)
    return confidence, np.array([look.pairs[place].agrees for place in places], dtype=np.bool_)
