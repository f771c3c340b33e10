"""What SliceSums.of_pair says of a pair's two distributions, for many pairs at once and to the last bit.

The functions of monitor.divergence are the definition. Array arithmetic adds in another order and takes its
logarithms elsewhere, so its real numbers may differ in the last digits; what is kept of them is whole multiples of
1 / UNIT. Wherever that difference could change the rounding, the pair is computed again by the definition. So
neither the machine nor how many pairs are looked at together can change a sum.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

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
from monitor.histograms import COARSE, UNIT, Bools, Floats, Ints, fixed
from monitor.temperature import tempered, tempered_reals

SMALLEST = 1e-290  # smaller probabilities but 0 are left to the definition: quotients of them lose digits
NEAR_FLOOR = 1e-9  # relative: so close to the floor, the definition says on which side
PRECISION = 2.0**-51  # twice the spacing of numbers at 1
TEMPERED_SIZE = (
    1024  # an ample bound on a tempered loss with its logits' errors: 4 x 27.6 nats, nine squarings
)


@dataclass(frozen=True, slots=True)
class Measures:
    """One entry for each pair; real-valued columns are fixed point."""

    teacher_top: Ints
    student_top: Ints
    confidence: Floats  # of the student
    teacher_confidence: Floats
    total_variation: Ints
    divergence_bits: Ints
    kl_nats: Ints
    kl_clipped: Ints
    brier: Ints
    nll_nats: Ints
    tempered: Ints  # [pairs, betas + 1], in units of 1 / COARSE

    @property
    def agrees(self) -> Bools:
        return np.equal(self.teacher_top, self.student_top)


@dataclass(frozen=True, slots=True)
class _Reals:
    """The real-valued measures by pair, and how far each may be from the definition's."""

    columns: tuple[Floats, ...]  # total variation, divergence, KL, Brier, negative log-likelihood
    tolerance: Floats
    tempered: Floats
    tempered_tolerance: float


def measures_of(teacher: Floats, student: Floats) -> Measures:
    """`teacher` and `student` are [pairs, classes]: probabilities as they were observed, not yet normalised."""
    with np.errstate(all="ignore"):  # what is odd is computed again
        p = teacher / _over_classes(teacher)[:, None]
        q = student / _over_classes(student)[:, None]
        reals = _reals(p, q)
        unsure = _odd(teacher) | _odd(student) | (np.abs(q - FLOOR) < NEAR_FLOOR * FLOOR).any(axis=1)
        scaled = [column * UNIT for column in reals.columns]
        for amounts in scaled:
            unsure |= _near_a_half(amounts, reals.tolerance * UNIT)
        scaled_tempered = reals.tempered * COARSE
        unsure |= _near_a_half(scaled_tempered, reals.tempered_tolerance * COARSE).any(axis=1)
        rounded: list[Ints] = [np.where(unsure, 0, np.rint(amounts)).astype(np.int64) for amounts in scaled]
        clipped: Ints = np.any((p > 0) & (q < FLOOR), axis=1).astype(np.int64)
        warm = np.where(unsure[:, None], 0, np.rint(scaled_tempered)).astype(np.int64)
    columns: tuple[Ints, ...] = (*rounded, clipped)
    for row in np.flatnonzero(unsure):
        values, warm[row] = _defined(teacher[row].tolist(), student[row].tolist())
        for column, value in zip(columns, values, strict=True):
            column[row] = value
    return Measures(
        teacher_top=teacher.argmax(axis=1),
        student_top=student.argmax(axis=1),
        confidence=student.max(axis=1),
        teacher_confidence=teacher.max(axis=1),
        total_variation=columns[0],
        divergence_bits=columns[1],
        kl_nats=columns[2],
        kl_clipped=columns[5],
        brier=columns[3],
        nll_nats=columns[4],
        tempered=warm,
    )


def joined_measures(parts: Sequence[Measures]) -> Measures:
    """Of the pairs of all parts, in their order."""
    return Measures(
        **{
            field.name: np.concatenate([getattr(part, field.name) for part in parts])
            for field in fields(Measures)
        }
    )


def _near_a_half(scaled: Floats, tolerance: Floats | float) -> Bools:
    """Where an error this large could round to another whole number; nan is such a place."""
    return ~(np.abs(scaled - np.floor(scaled) - 0.5) > tolerance)


def _reals(p: Floats, q: Floats) -> _Reals:
    """A term is wrong by a few units in its last place, a sum of C terms by C more of them."""
    log_q = _log(q)
    entropy_p, entropy_q = _entropy(p), -_over_classes(q * log_q)
    nll = -_over_classes(p * np.maximum(log_q, np.log(FLOOR)))
    columns = (
        0.5 * _over_classes(np.abs(p - q)),
        _bits(p, q, entropy_p, entropy_q),
        np.maximum(nll - entropy_p, 0.0),
        _over_classes((q - p) ** 2),
        nll,
    )
    terms = PRECISION * (p.shape[1] + 16)
    size = 2 + nll + entropy_p + entropy_q
    return _Reals(columns, terms * size, tempered_reals(p, q), terms * TEMPERED_SIZE)


def closeness(teacher: Floats, student: Floats) -> tuple[Bools, Floats, Floats]:
    """By pair whether the top classes agree, total variation and Jensen-Shannon bits; not yet rounded."""
    p, q = (side / _over_classes(side)[:, None] for side in (teacher, student))
    agrees = np.equal(teacher.argmax(axis=1), student.argmax(axis=1))
    return agrees, 0.5 * _over_classes(np.abs(p - q)), _bits(p, q, _entropy(p), _entropy(q))


def _bits(p: Floats, q: Floats, entropy_p: Floats, entropy_q: Floats) -> Floats:
    bits: Floats = (_entropy((p + q) / 2) - (entropy_p + entropy_q) / 2) / np.log(2)
    return np.clip(bits, 0.0, 1.0)


def _entropy(p: Floats) -> Floats:
    return -_over_classes(p * _log(p))


def _over_classes(table: Floats) -> Floats:
    """Row sums; einsum is several times as fast as sum where rows are short."""
    found: Floats = np.einsum("ij->i", table)
    return found


def _log(p: Floats) -> Floats:
    """Natural logarithms that give 0 when multiplied by a probability of 0."""
    return np.log(np.maximum(p, SMALLEST))


def _odd(probabilities: Floats) -> Bools:
    """Rows for which the tolerance is not proven; nothing that observe() lets through but tiny numbers."""
    total = probabilities.sum(axis=1)
    strange = np.any((probabilities != 0) & ~(probabilities >= SMALLEST), axis=1)
    odd: Bools = strange | ~((total > 0.5) & (total < 2))
    return odd


def _defined(teacher: list[float], student: list[float]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The same of one pair, by definition."""
    p, q = normalised(teacher), normalised(student)
    distances = (
        fixed(total_variation(p, q)),
        fixed(jensen_shannon_bits(p, q)),
        fixed(kullback_leibler_nats(p, q)),
        fixed(brier(p, q)),
        fixed(cross_entropy_nats(p, q)),
        int(is_clipped(p, q)),
    )
    return distances, tempered(p, q)
