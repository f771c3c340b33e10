"""What SliceSums.of_pair says of a pair, for many pairs at once and to the last bit.

The functions of monitor.divergence are the definition. Array arithmetic adds in another order and takes its
logarithms elsewhere, so its real numbers may differ in the last digits; what is kept of them is whole multiples of
1 / UNIT. Wherever that difference could change the rounding, the pair is computed again by the definition. So
neither the machine nor how many pairs are looked at together can change a sum.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from monitor.divergence import (
    FLOOR,
    brier,
    cross_entropy_nats,
    is_clipped,
    jensen_shannon_bits,
    kullback_leibler_nats,
    normalised,
    total_variation,
)
from monitor.sums import UNIT, fixed

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

SMALLEST = 1e-290  # smaller probabilities but 0 are left to the definition: quotients of them lose digits
NEAR_FLOOR = 1e-9  # relative: so close to the floor, the definition says on which side
PRECISION = 2.0**-51  # twice the spacing of numbers at 1


@dataclass(frozen=True, slots=True)
class Measures:
    """One entry for each pair; real-valued columns are fixed point."""

    teacher_top: Ints
    student_top: Ints
    confidence: Floats  # of the student
    total_variation: Ints
    divergence_bits: Ints
    kl_nats: Ints
    kl_clipped: Ints
    brier: Ints
    nll_nats: Ints

    @property
    def agrees(self) -> Bools:
        return np.equal(self.teacher_top, self.student_top)


@dataclass(frozen=True, slots=True)
class _Reals:
    """The real-valued measures by pair, and how far each may be from the definition's."""

    columns: tuple[Floats, ...]  # total variation, divergence, KL, Brier, negative log-likelihood
    tolerance: Floats


def measures_of(teacher: Floats, student: Floats) -> Measures:
    """`teacher` and `student` are [pairs, classes]: probabilities as they were observed, not yet normalised."""
    with np.errstate(all="ignore"):  # what is odd is computed again
        p = teacher / teacher.sum(axis=1, keepdims=True)
        q = student / student.sum(axis=1, keepdims=True)
        reals = _reals(p, q)
        unsure = _odd(teacher) | _odd(student) | (np.abs(q - FLOOR) < NEAR_FLOOR * FLOOR).any(axis=1)
        scaled = [column * UNIT for column in reals.columns]
        for column in scaled:
            unsure |= ~(np.abs(column - np.floor(column) - 0.5) > reals.tolerance * UNIT)  # nan is unsure
        rounded = [np.where(unsure, 0, np.rint(column)).astype(np.int64) for column in scaled]
        clipped = ((p > 0) & (q < FLOOR)).any(axis=1).astype(np.int64)
    columns = (*rounded, clipped)
    for row in np.flatnonzero(unsure):
        for column, value in zip(
            columns, _defined(teacher[row].tolist(), student[row].tolist()), strict=True
        ):
            column[row] = value
    return Measures(
        teacher_top=teacher.argmax(axis=1),
        student_top=student.argmax(axis=1),
        confidence=student.max(axis=1),
        total_variation=columns[0],
        divergence_bits=columns[1],
        kl_nats=columns[2],
        kl_clipped=columns[5],
        brier=columns[3],
        nll_nats=columns[4],
    )


def _reals(p: Floats, q: Floats) -> _Reals:
    """A term is wrong by a few units in its last place, a sum of C terms by C more of them."""
    log_p, log_q = _log(p), _log(q)
    middle = (p + q) / 2
    entropy_p, entropy_q = -(p * log_p).sum(axis=1), -(q * log_q).sum(axis=1)
    nll = -(p * np.maximum(log_q, np.log(FLOOR))).sum(axis=1)
    bits = (-(middle * _log(middle)).sum(axis=1) - (entropy_p + entropy_q) / 2) / np.log(2)
    columns = (
        0.5 * np.abs(p - q).sum(axis=1),
        np.clip(bits, 0.0, 1.0),
        np.maximum(nll - entropy_p, 0.0),
        ((q - p) ** 2).sum(axis=1),
        nll,
    )
    return _Reals(columns, PRECISION * (p.shape[1] + 16) * (2 + nll + entropy_p + entropy_q))


def _log(p: Floats) -> Floats:
    """Natural logarithms that give 0 when multiplied by a probability of 0."""
    return np.log(np.maximum(p, SMALLEST))


def _odd(probabilities: Floats) -> Bools:
    """Rows for which the tolerance is not proven; nothing that observe() lets through but tiny numbers."""
    total = probabilities.sum(axis=1)
    strange = np.any((probabilities != 0) & ~(probabilities >= SMALLEST), axis=1)
    odd: Bools = strange | ~((total > 0.5) & (total < 2))
    return odd


def _defined(teacher: list[float], student: list[float]) -> tuple[int, ...]:
    """The same of one pair, by definition."""
    p, q = normalised(teacher), normalised(student)
    return (
        fixed(total_variation(p, q)),
        fixed(jensen_shannon_bits(p, q)),
        fixed(kullback_leibler_nats(p, q)),
        fixed(brier(p, q)),
        fixed(cross_entropy_nats(p, q)),
        int(is_clipped(p, q)),
    )
