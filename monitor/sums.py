"""Everything that is kept of a slice, as exact integers: merging is adding, and dividing comes last.

Real-valued sums are fixed point, whole multiples of 2**-32 (2**-20 where noted): integer addition is associative,
so any split over windows, ticks or processes merges to bit-identical sums, which float addition would not.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import accumulate
from operator import attrgetter
from typing import Any

from ledger.spots import BANDS, NOWHERE
from monitor.calibration import (
    ReliabilityBin,
    bin_of,
    calibration_error,
    debiased_calibration_error,
    edges,
)
from monitor.divergence import (
    brier,
    cross_entropy_nats,
    is_clipped,
    jensen_shannon_bits,
    kullback_leibler_nats,
    normalised,
    total_variation,
)
from monitor.histograms import (
    COARSE,
    LATENCY_EDGES,
    UNIT,
    WORD_EDGES,
    Whole,
    confidence_bin,
    fixed,
    place,
    share_bin,
    square,
)
from monitor.pairs import Pair
from monitor.smoothing import grid_place, grid_shares
from monitor.temperature import BETAS, best_beta, tempered
from monitor.weights import excess, square_excess, weight_of, weighted

FORMAT = 2  # of the JSON form; a change of bins or unit needs another number, a further field does not
READABLE = (1, FORMAT)  # the first has vectors as entries alone
RELIABILITY_BINS = 20
LABEL_TABLE = 4  # both right, student alone, teacher alone, both wrong
COVERAGE_EDGES = 100  # confidence thresholds 0.00, 0.01, ... 0.99 that a certificate may use

Vector = tuple[tuple[int, int], ...]  # (index, count) by rising index, no count of 0


@dataclass(frozen=True, slots=True)
class SliceSums:
    """Sums over the pairs of a slice; reliability and label vectors are indexed by bin, classes by class.

    Rows that an earlier release stored lack the fields that it did not know: there they are 0, and whoever divides
    such a field divides by `measured`, not by `pairs`.

    Labels are weighted (monitor.weights). Counts of labelled pairs stay whole counts, and what weights above 1 add
    to them is an excess, 2**-20, beside them; the other sums over labelled pairs hold weighted amounts.
    """

    pairs: int = 0
    agreements: int = 0
    total_variation: int = 0  # fixed point
    divergence_bits: int = 0  # fixed point, Jensen-Shannon
    kl_nats: int = 0  # fixed point, teacher to student
    kl_clipped: int = 0  # pairs where the probability floor changed kl_nats and nll_nats
    brier: int = 0  # fixed point
    nll_nats: int = 0  # fixed point
    reliability_pairs: Vector = ()  # against the teacher
    reliability_confidence: Vector = ()  # fixed point
    reliability_right: Vector = ()
    coverage_pairs: Vector = ()  # pairs by confidence, in COVERAGE_EDGES bins
    coverage_disagreements: Vector = ()
    teacher_classes: Vector = ()
    student_classes: Vector = ()
    total_variation_squares: int = 0  # fixed point
    total_variation_histogram: Vector = ()
    divergence_squares: int = 0  # fixed point
    divergence_histogram: Vector = ()
    teacher_other: int = 0  # fixed point: what the teacher gave to no class
    student_confidence: Vector = ()  # histogram of its largest probability
    teacher_confidence: Vector = ()
    tempered_nats: Vector = ()  # 2**-20, by beta, signed; last the score
    smooth_density: Vector = ()  # 2**-20, by grid point
    smooth_residual: Vector = ()  # 2**-20, signed
    words: Vector = ()  # inputs by length
    regions: Vector = ()  # inputs by region of the student's embedding, where it tells them
    bands: Vector = ()  # of the same, by distance from the region's centre
    student_latency_us: int = 0
    student_latency: Vector = ()  # histogram
    teacher_latency_us: int = 0  # of exchanges that the teacher served
    teacher_latency: Vector = ()
    both_right: int = 0  # against true labels, as are all below
    student_alone_right: int = 0
    teacher_alone_right: int = 0
    both_wrong: int = 0
    label_pairs: Vector = ()
    label_confidence: Vector = ()  # fixed point
    label_right: Vector = ()
    label_brier: int = 0  # fixed point
    label_nll_nats: int = 0  # fixed point
    label_tempered_nats: Vector = ()  # 2**-20
    label_smooth_density: Vector = ()  # 2**-20
    label_smooth_residual: Vector = ()  # 2**-20
    label_coverage_pairs: Vector = ()
    label_coverage_errors: Vector = ()
    label_coverage_teacher_errors: Vector = ()  # by the student's confidence, like the two before it
    label_table_excess: Vector = ()  # of both_right, student_alone_right, teacher_alone_right, both_wrong
    label_squares_excess: Vector = ()  # of the squares of the weights, by bin
    label_pairs_excess: Vector = ()
    label_right_excess: Vector = ()
    label_coverage_pairs_excess: Vector = ()
    label_coverage_errors_excess: Vector = ()
    label_coverage_teacher_errors_excess: Vector = ()

    @classmethod
    def empty(cls) -> "SliceSums":
        return cls()

    @classmethod
    def of_pair(cls, pair: Pair) -> "SliceSums":
        """Sums of one pair, without its label."""
        p, q = normalised(pair.teacher.probabilities or ()), normalised(pair.student.probabilities or ())
        confidence, agrees = pair.student.confidence, pair.agrees
        bin_index, edge_index = bin_of(confidence, RELIABILITY_BINS), bin_of(confidence, COVERAGE_EDGES)
        density, residual = _on_grid(confidence, agrees)
        return cls(
            pairs=1,
            agreements=int(agrees),
            **_distances(p, q),
            reliability_pairs=_at(bin_index, 1),
            reliability_confidence=_at(bin_index, fixed(min(confidence, 1.0))),
            reliability_right=_at(bin_index, int(agrees)),
            coverage_pairs=_at(edge_index, 1),
            coverage_disagreements=_at(edge_index, int(not agrees)),
            teacher_classes=_at(pair.teacher.top, 1),
            student_classes=_at(pair.student.top, 1),
            teacher_other=fixed(pair.teacher.other),
            student_confidence=_at(confidence_bin(confidence), 1),
            teacher_confidence=_at(confidence_bin(pair.teacher.confidence), 1),
            tempered_nats=_vector(tempered(p, q)),
            smooth_density=density,
            smooth_residual=residual,
            words=_at(place(pair.words, WORD_EDGES), 1),
            **_spot(pair.student.spot),
            **_latency("student", pair.student_latency_us),
            **_latency("teacher", pair.teacher_latency_us),
        )

    @classmethod
    def of_label(cls, pair: Pair, label: int, probability: float = 1.0) -> "SliceSums":
        """What the true class of a pair adds to the sums of that pair.

        `probability` is that with which its exchange was chosen for labelling, given that it is a pair.
        """
        student, teacher = pair.student.top == label, pair.teacher.top == label
        weight = weight_of(pair.inclusion * probability)
        beyond = excess(weight)
        q = normalised(pair.student.probabilities or ())
        truth = [float(index == label) for index in range(len(q))]
        confidence = pair.student.confidence
        bin_index, edge_index = bin_of(confidence, RELIABILITY_BINS), bin_of(confidence, COVERAGE_EDGES)
        density, residual = _on_grid(confidence, student)
        return cls(
            both_right=int(student and teacher),
            student_alone_right=int(student and not teacher),
            teacher_alone_right=int(teacher and not student),
            both_wrong=int(not student and not teacher),
            label_pairs=_at(bin_index, 1),
            label_confidence=_at(bin_index, weighted(fixed(min(confidence, 1.0)), weight)),
            label_right=_at(bin_index, int(student)),
            label_brier=weighted(fixed(brier(truth, q)), weight),
            label_nll_nats=weighted(fixed(cross_entropy_nats(truth, q)), weight),
            label_tempered_nats=_vector([weighted(value, weight) for value in tempered(truth, q)]),
            label_smooth_density=_weighted(density, weight),
            label_smooth_residual=_weighted(residual, weight),
            label_coverage_pairs=_at(edge_index, 1),
            label_coverage_errors=_at(edge_index, int(not student)),
            label_coverage_teacher_errors=_at(edge_index, int(not teacher)),
            label_table_excess=_at(table_place(student, teacher), beyond),
            label_squares_excess=_at(bin_index, square_excess(weight)),
            label_pairs_excess=_at(bin_index, beyond),
            label_right_excess=_at(bin_index, beyond * student),
            label_coverage_pairs_excess=_at(edge_index, beyond),
            label_coverage_errors_excess=_at(edge_index, beyond * (not student)),
            label_coverage_teacher_errors_excess=_at(edge_index, beyond * (not teacher)),
        )

    def merge(self, other: "SliceSums") -> "SliceSums":
        """The sums over both sets of pairs."""
        return merged((self, other))

    def subtract(self, other: "SliceSums") -> "SliceSums":
        """The sums without what `other` had added: how a corrected label takes the old one back."""
        return self.merge(other.negated())

    def negated(self) -> "SliceSums":
        """What takes these sums back when it is merged."""
        return SliceSums(*map(_negative, _values(self)))

    def to_json(self) -> dict[str, Any]:
        """What is not 0."""
        return {"format": FORMAT} | {
            name: value if isinstance(value, int) else _stored(value)
            for name, value in zip(_NAMES, _values(self), strict=True)
            if value
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "SliceSums":
        """Raises ValueError when another release wrote sums of another format."""
        if document.get("format") not in READABLE:
            raise ValueError(
                f"sums of format {document.get('format')!r} cannot be read; this release knows {READABLE}"
            )
        return cls(**{name: _read(value) for name, value in document.items() if name != "format"})

    # --- divided last; nan where there is nothing to divide by ---------------------------------------

    @property
    def measured(self) -> int:
        """Pairs of which every field is known: those that no earlier release folded."""
        return sum(count for _, count in self.student_confidence)

    @property
    def disagreements(self) -> int:
        return self.pairs - self.agreements

    @property
    def fidelity(self) -> float:
        """Share of pairs with the teacher's top class."""
        return _ratio(self.agreements, self.pairs)

    @property
    def mean_total_variation(self) -> float:
        return _ratio(self.total_variation, self.pairs * UNIT)

    @property
    def mean_divergence_bits(self) -> float:
        return _ratio(self.divergence_bits, self.pairs * UNIT)

    @property
    def mean_kl_nats(self) -> float:
        return _ratio(self.kl_nats, self.pairs * UNIT)

    @property
    def mean_brier(self) -> float:
        return _ratio(self.brier, self.pairs * UNIT)

    @property
    def mean_nll_nats(self) -> float:
        return _ratio(self.nll_nats, self.pairs * UNIT)

    @property
    def temperature(self) -> float:
        """Of the student against its teacher; nan without pairs of this release."""
        return 1 / best_beta(filled(self.tempered_nats, len(BETAS)))

    @property
    def labelled(self) -> int:
        """Pairs whose true label is known."""
        return self.both_right + self.student_alone_right + self.teacher_alone_right + self.both_wrong

    @property
    def label_table(self) -> list[float]:
        """Weights of labelled pairs where both are right, the student alone, the teacher alone, none."""
        counts = self.both_right, self.student_alone_right, self.teacher_alone_right, self.both_wrong
        return [
            raised(*of_cell)
            for of_cell in zip(counts, filled(self.label_table_excess, LABEL_TABLE), strict=True)
        ]

    @property
    def label_weight(self) -> float:
        """Of all labelled pairs: `labelled` where every one was certain to be labelled."""
        return sum(self.label_table)

    @property
    def effective_labels(self) -> float:
        """As many equally weighted labels say as much about a share (Kish 1965)."""
        squares = raised(self.labelled, sum(amount for _, amount in self.label_squares_excess))
        return _ratio(self.label_weight**2, squares) if self.labelled else 0.0

    @property
    def label_worth(self) -> float:
        """Of a weight of 1, in equally weighted labels; 1 where every label weighs the same."""
        size, weight = self.effective_labels, self.label_weight
        return size / weight if size > 0 and weight > 0 else 1.0

    @property
    def accuracy(self) -> float:
        """Share of pairs where the student is right, estimated from the labelled ones, as are those below."""
        both, student, _, _ = self.label_table
        return _ratio(both + student, self.label_weight)

    @property
    def teacher_accuracy(self) -> float:
        both, _, teacher, _ = self.label_table
        return _ratio(both + teacher, self.label_weight)

    @property
    def student_regret(self) -> float:
        """Share where the teacher alone is right: what serving the student costs."""
        return _ratio(self.label_table[2], self.label_weight)

    @property
    def reliability(self) -> list[ReliabilityBin]:
        """Bins against the teacher's answer."""
        return _bins(self.reliability_pairs, self.reliability_confidence, self.reliability_right)

    @property
    def label_reliability(self) -> list[ReliabilityBin]:
        """Bins against true labels, weighted."""
        pairs = raised_by_place(self.label_pairs, self.label_pairs_excess, RELIABILITY_BINS)
        right = raised_by_place(self.label_right, self.label_right_excess, RELIABILITY_BINS)
        squares = raised_by_place(self.label_pairs, self.label_squares_excess, RELIABILITY_BINS)
        confidence = filled(self.label_confidence, RELIABILITY_BINS)
        return [
            ReliabilityBin(n, c / UNIT, r, n * n / s if s else None)
            for n, c, r, s in zip(pairs, confidence, right, squares, strict=True)
        ]

    @property
    def calibration_error(self) -> float:
        """Expected calibration error against the teacher."""
        return calibration_error(self.reliability)

    @property
    def debiased_calibration_error(self) -> float:
        return debiased_calibration_error(self.reliability)

    @property
    def label_calibration_error(self) -> float:
        """Expected calibration error against true labels."""
        return calibration_error(self.label_reliability)

    @property
    def accepted(self) -> list[tuple[int, int]]:
        """(pairs, disagreements) with confidence at or above each of the COVERAGE_EDGES thresholds."""
        return list(
            zip(_at_or_above(self.coverage_pairs), _at_or_above(self.coverage_disagreements), strict=True)
        )

    def accepted_from(self, threshold: float) -> tuple[int, int]:
        """The same for one threshold, which need not be on the grid."""
        index = edge_at_or_above(threshold)
        return self.accepted[index] if index < COVERAGE_EDGES else (0, 0)

    @property
    def label_accepted(self) -> list[tuple[float, float, float]]:
        """The same of labelled pairs, weighted: their weight, that of the student's errors and of the teacher's."""
        pairs = _raised_at_or_above(self.label_coverage_pairs, self.label_coverage_pairs_excess)
        errors = _raised_at_or_above(self.label_coverage_errors, self.label_coverage_errors_excess)
        teacher_errors = _raised_at_or_above(
            self.label_coverage_teacher_errors, self.label_coverage_teacher_errors_excess
        )
        return list(zip(pairs, errors, teacher_errors, strict=True))

    @property
    def has_teacher_errors(self) -> bool:
        """False where an earlier release counted some of the labels, without the teacher's errors by confidence."""
        errors = self.student_alone_right + self.both_wrong
        return sum(count for _, count in self.label_coverage_teacher_errors) == errors


def merged(parts: Iterable[SliceSums]) -> SliceSums:
    """The sums over all parts; empty for none."""
    totals = [_total(column) for column in zip(*map(_values, parts), strict=True)]
    return SliceSums(*totals) if totals else SliceSums.empty()


_NAMES = tuple(field.name for field in fields(SliceSums))


_values = attrgetter(*_NAMES)


def _total(column: tuple[Any, ...]) -> Any:
    if isinstance(column[0], int):
        return sum(column)
    counts: dict[int, int] = {}
    for vector in column:
        for index, count in vector:
            counts[index] = counts.get(index, 0) + count
    return tuple(sorted((index, count) for index, count in counts.items() if count))


def edge_at_or_above(threshold: float) -> int:
    """The place of a threshold in the grid, rounded up, so that never more is counted than is really above it.

    COVERAGE_EDGES, one beyond the last place, for a threshold above the last edge: nothing is known to be above.
    """
    index = bin_of(threshold, COVERAGE_EDGES)
    return index if edges(COVERAGE_EDGES)[index] >= threshold else index + 1


def _at_or_above(vector: Vector) -> list[int]:
    """Suffix sums."""
    return list(accumulate(reversed(filled(vector, COVERAGE_EDGES))))[::-1]


def _raised_at_or_above(counts: Vector, beyond: Vector) -> list[float]:
    return list(map(raised, _at_or_above(counts), _at_or_above(beyond)))


def table_place(student: Whole, teacher: Whole) -> Whole:
    """Place in `label_table` of a pair, by who is right (1) and who is not (0)."""
    return 3 - 2 * student - teacher


def raised(count: int, beyond: int) -> float:
    """A sum of weights from the count of its labels and their excess."""
    return count + beyond / COARSE if beyond else count


def raised_by_place(counts: Vector, beyond: Vector, length: int) -> list[float]:
    return list(map(raised, filled(counts, length), filled(beyond, length)))


def filled(vector: Vector, length: int) -> list[int]:
    """Every count, those of 0 too."""
    counts = dict(vector)
    return [counts.get(index, 0) for index in range(length)]


def _distances(p: Sequence[float], q: Sequence[float]) -> dict[str, Any]:
    variation, bits = fixed(total_variation(p, q)), fixed(jensen_shannon_bits(p, q))
    return {
        "total_variation": variation,
        "total_variation_squares": square(variation),
        "total_variation_histogram": _at(share_bin(variation), 1),
        "divergence_bits": bits,
        "divergence_squares": square(bits),
        "divergence_histogram": _at(share_bin(bits), 1),
        "kl_nats": fixed(kullback_leibler_nats(p, q)),
        "kl_clipped": int(is_clipped(p, q)),
        "brier": fixed(brier(p, q)),
        "nll_nats": fixed(cross_entropy_nats(p, q)),
    }


def _on_grid(confidence: float, right: bool) -> tuple[Vector, Vector]:
    sure = fixed(min(confidence, 1.0))
    low = grid_place(sure)
    below, above, residual_below, residual_above = grid_shares(sure, int(right))
    return (
        _at(low, below) + _at(low + 1, above),
        _at(low, residual_below) + _at(low + 1, residual_above),
    )


def _latency(side: str, latency_us: int | None) -> dict[str, Any]:
    if latency_us is None:
        return {}
    return {
        f"{side}_latency_us": latency_us,
        f"{side}_latency": _at(place(latency_us, LATENCY_EDGES), 1),
    }


def _spot(spot: int) -> dict[str, Any]:
    region, band = divmod(spot, BANDS)
    return {} if spot == NOWHERE else {"regions": _at(region, 1), "bands": _at(band, 1)}


def _at(index: int, count: int) -> Vector:
    return ((index, count),) if count else ()


def _weighted(vector: Vector, weight: int) -> Vector:
    return _vector_of((index, weighted(amount, weight)) for index, amount in vector)


def _vector(values: Sequence[int]) -> Vector:
    return _vector_of(enumerate(values))


def _vector_of(entries: Iterable[tuple[int, int]]) -> Vector:
    return tuple((index, value) for index, value in entries if value)


def _negative(value: Any) -> Any:
    return -value if isinstance(value, int) else tuple((index, -count) for index, count in value)


def is_dense(entries: int, span: int) -> bool:
    """Whether a vector is stored as its first index and every count up to the last, or as [index, count] entries.

    An entry takes at least four characters beside its count, a 0 two.
    """
    return span < 3 * entries


def _stored(vector: Vector) -> list[Any]:
    first, span = vector[0][0], vector[-1][0] - vector[0][0] + 1
    if not is_dense(len(vector), span):
        return list(map(list, vector))
    counts = dict(vector)
    return [first, *(counts.get(index, 0) for index in range(first, first + span))]


def _read(value: Any) -> Any:
    if isinstance(value, int):
        return value
    if value and isinstance(value[0], int):
        return _vector_of(enumerate(value[1:], start=value[0]))
    return tuple((index, count) for index, count in value)


def _bins(counts: Vector, confidence: Vector, right: Vector) -> list[ReliabilityBin]:
    columns = [filled(vector, RELIABILITY_BINS) for vector in (counts, confidence, right)]
    return [ReliabilityBin(n, c / UNIT, r) for n, c, r in zip(*columns, strict=True)]


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else math.nan
