"""Pairs as columns become sums by task, student, slice and window: SliceSums.of_pair and merge, all at once.

Every pair is a list of (place in the row of its slice, whole number). A row is laid out as monitor.layout says.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csc_array

from ledger.spots import BANDS, NOWHERE
from monitor.calibration import bins_of
from monitor.columns import NO_LATENCY, PairColumns
from monitor.histograms import (
    LATENCY_EDGES,
    UNIT,
    WORD_EDGES,
    Bools,
    Floats,
    Ints,
    confidence_bins,
    places,
    share_bin,
    square,
)
from monitor.layout import Layout, layout_of
from monitor.measures import measures_of
from monitor.slicing import NO_SLICE, SliceColumn
from monitor.smoothing import grid_place, grid_shares
from monitor.sums import COVERAGE_EDGES, RELIABILITY_BINS, table_place
from monitor.weights import excess, square_excess, weighted

Key = tuple[str, str, str, int]  # task, artifact, slice, window start
Changes = Mapping[Key, Ints]  # rows to be added

NO_LABEL = -1  # code of a pair whose true class is unknown
A_BLOCK = 512  # pairs added up at once, so that what is computed for them stays near the processor

Column = tuple[int, Ints | Bools]  # by pair: what to add at one place of the row
Binned = tuple[Ints, Ints | Bools]  # by pair: place in the row, and what to add there


@dataclass(frozen=True, slots=True)
class _Entries:
    """What each pair adds to the row of each of its slices."""

    places: Ints  # of the row, one for each column of `amounts`
    amounts: Ints  # [pairs, places]
    bins: Ints  # [pairs, entries]: places of the row
    counts: Ints  # [pairs, entries]

    @classmethod
    def of(cls, columns: Iterable[Column], binned: Iterable[Binned]) -> "_Entries":
        places, amounts = zip(*columns, strict=True)
        bins, counts = zip(*binned, strict=True)
        return cls(np.array(places), _side_by_side(amounts), _side_by_side(bins), _side_by_side(counts))

    def table(self, codes: Ints, shape: tuple[int, int]) -> Ints:
        """[rows, width]: everything added up; `codes` is [pairs, rules], the row of a pair or NO_SLICE."""
        rows = np.zeros(shape, dtype=np.int64)
        flat = rows.reshape(-1)
        for first in range(0, len(codes), A_BLOCK):
            part = slice(first, first + A_BLOCK)
            inside = codes[part] != NO_SLICE
            at = (codes[part] * shape[1])[:, :, None] + self.bins[part, None, :]
            counts = np.broadcast_to(self.counts[part, None, :], at.shape)
            chosen = ... if inside.all() else inside
            np.add.at(flat, at[chosen].ravel(), counts[chosen].ravel())
        rows[:, self.places] += _added_up(self.amounts, codes, shape[0])
        return rows


def _side_by_side(columns: Iterable[Ints | Bools]) -> Ints:
    return np.stack(list(columns), axis=1).astype(np.int64, copy=False)


def _added_up(amounts: Ints, codes: Ints, rows: int) -> Ints:
    """[rows, places]: the amounts of the pairs of each row, in one product with the matrix of who is where."""
    inside = codes != NO_SLICE
    begins = np.concatenate([[0], np.cumsum(inside.sum(axis=1))])
    ones = np.ones(begins[-1], dtype=np.int64)
    found: Ints = csc_array((ones, codes[inside], begins), shape=(rows, len(codes))) @ amounts
    return found


def pair_sums(columns: PairColumns, window_seconds: int) -> Changes:
    """What pairs add to the rows of their slices, without their labels."""
    layout = layout_of(columns.classes)
    entries = _Entries.of(_pair_columns(columns, layout), _pair_bins(columns, layout))
    return _folded(columns, window_seconds, layout, entries, np.arange(len(columns)))


def label_sums(columns: PairColumns, labels: Ints, weights: Ints, window_seconds: int) -> Changes:
    """What true classes add for those pairs that have one: `labels` has a class or NO_LABEL for each pair.

    `weights` are those of the labels, monitor.weights; where there is none, nobody looks.
    """
    known = np.flatnonzero(labels != NO_LABEL)
    if not len(known):
        return {}
    layout = layout_of(columns.classes)
    entries = _label_entries(columns, labels[known], weights[known], known, layout)
    return _folded(columns, window_seconds, layout, entries, known)


def merged_changes(changes: Iterable[Changes]) -> dict[Key, Ints]:
    """One change for each row."""
    found: dict[Key, Ints] = {}
    for some in changes:
        for key, row in some.items():
            found[key] = found[key] + row if key in found else row
    return found


def _pair_columns(columns: PairColumns, layout: Layout) -> Iterator[Column]:
    measures = columns.measures
    yield layout["pairs"], np.ones(len(columns), dtype=np.int64)
    yield layout["agreements"], measures.agrees
    yield layout["total_variation"], measures.total_variation
    yield layout["total_variation_squares"], square(measures.total_variation)
    yield layout["divergence_bits"], measures.divergence_bits
    yield layout["divergence_squares"], square(measures.divergence_bits)
    yield layout["kl_nats"], measures.kl_nats
    yield layout["kl_clipped"], measures.kl_clipped
    yield layout["brier"], measures.brier
    yield layout["nll_nats"], measures.nll_nats
    yield layout["teacher_other"], columns.teacher_other
    yield from _tempered(measures.tempered, layout["tempered_nats"])
    yield layout["student_latency_us"], np.maximum(columns.student_latency_us, 0)
    yield layout["teacher_latency_us"], np.maximum(columns.teacher_latency_us, 0)


def _pair_bins(columns: PairColumns, layout: Layout) -> Iterator[Binned]:
    measures = columns.measures
    confidence, ones = measures.confidence, np.ones(len(columns), dtype=np.int64)
    yield layout["total_variation_histogram"] + share_bin(measures.total_variation), ones
    yield layout["divergence_histogram"] + share_bin(measures.divergence_bits), ones
    yield from _reliability(confidence, measures.agrees, layout, "reliability")
    yield from _coverage(confidence, measures.agrees, layout, "coverage_pairs", "coverage_disagreements")
    yield layout["teacher_classes"] + measures.teacher_top, ones
    yield layout["student_classes"] + measures.student_top, ones
    yield layout["student_confidence"] + confidence_bins(confidence), ones
    yield layout["teacher_confidence"] + confidence_bins(measures.teacher_confidence), ones
    yield layout["words"] + places(columns.words, WORD_EDGES), ones
    yield from _spots(columns.spots, layout)
    yield from _on_grid(confidence, measures.agrees, layout["smooth_density"], layout["smooth_residual"])
    for side, latency in (("student", columns.student_latency_us), ("teacher", columns.teacher_latency_us)):
        yield layout[f"{side}_latency"] + places(latency, LATENCY_EDGES), latency != NO_LATENCY


def _spots(spots: Ints, layout: Layout) -> Iterator[Binned]:
    told = spots != NOWHERE
    if told.any():
        regions, bands = np.divmod(np.maximum(spots, 0), BANDS)
        yield layout["regions"] + regions, told
        yield layout["bands"] + bands, told


def _label_entries(
    columns: PairColumns, labels: Ints, weights: Ints, known: Ints, layout: Layout
) -> _Entries:
    """Of the pairs `known` alone, whose true classes are `labels`."""
    measures, confidence = columns.measures, columns.measures.confidence[known]
    teacher, student = measures.teacher_top[known] == labels, measures.student_top[known] == labels
    truth = np.zeros((len(known), columns.classes))
    truth[np.arange(len(known)), labels] = 1.0
    losses = measures_of(truth, columns.student[known])
    grids = layout["label_smooth_density"], layout["label_smooth_residual"]
    table = layout["label_table_excess"] + table_place(student.astype(np.int64), teacher.astype(np.int64))
    return _Entries.of(
        (
            (layout["both_right"], student & teacher),
            (layout["student_alone_right"], student & ~teacher),
            (layout["teacher_alone_right"], teacher & ~student),
            (layout["both_wrong"], ~student & ~teacher),
            (layout["label_brier"], weighted(losses.brier, weights)),
            (layout["label_nll_nats"], weighted(losses.nll_nats, weights)),
            *_tempered(weighted(losses.tempered, weights[:, None]), layout["label_tempered_nats"]),
        ),
        (
            (table, excess(weights)),
            *_weighted_reliability(confidence, student, weights, layout),
            *_coverage(confidence, student, layout, "label_coverage_pairs", "label_coverage_errors"),
            (layout["label_coverage_teacher_errors"] + bins_of(confidence, COVERAGE_EDGES), ~teacher),
            *_coverage_excess(confidence, student, teacher, excess(weights), layout),
            *((place, weighted(amount, weights)) for place, amount in _on_grid(confidence, student, *grids)),
        ),
    )


def _tempered(amounts: Ints, offset: int) -> Iterator[Column]:
    for index, column in enumerate(amounts.T):
        yield offset + index, column


def _reliability(confidence: Floats, right: Bools, layout: Layout, prefix: str) -> Iterator[Binned]:
    bins = bins_of(confidence, RELIABILITY_BINS)
    yield layout[f"{prefix}_pairs"] + bins, np.ones(len(bins), dtype=np.int64)
    yield layout[f"{prefix}_confidence"] + bins, _fixed_confidence(confidence)
    yield layout[f"{prefix}_right"] + bins, right


def _weighted_reliability(
    confidence: Floats, right: Bools, weights: Ints, layout: Layout
) -> Iterator[Binned]:
    counted, sure, hits = _reliability(confidence, right, layout, "label")
    bins = counted[0] - layout["label_pairs"]
    yield from (counted, (sure[0], weighted(sure[1].astype(np.int64), weights)), hits)
    yield layout["label_pairs_excess"] + bins, excess(weights)
    yield layout["label_right_excess"] + bins, excess(weights) * right
    yield layout["label_squares_excess"] + bins, square_excess(weights)


def _coverage(confidence: Floats, right: Bools, layout: Layout, pairs: str, wrong: str) -> Iterator[Binned]:
    bins = bins_of(confidence, COVERAGE_EDGES)
    yield layout[pairs] + bins, np.ones(len(bins), dtype=np.int64)
    yield layout[wrong] + bins, ~right


def _coverage_excess(
    confidence: Floats, student: Bools, teacher: Bools, beyond: Ints, layout: Layout
) -> Iterator[Binned]:
    bins = bins_of(confidence, COVERAGE_EDGES)
    yield layout["label_coverage_pairs_excess"] + bins, beyond
    yield layout["label_coverage_errors_excess"] + bins, beyond * ~student
    yield layout["label_coverage_teacher_errors_excess"] + bins, beyond * ~teacher


def _on_grid(confidence: Floats, right: Bools, density: int, residual: int) -> Iterator[tuple[Ints, Ints]]:
    sure = _fixed_confidence(confidence)
    low = grid_place(sure)
    below, above, residual_below, residual_above = grid_shares(sure, right.astype(np.int64))
    yield density + low, below
    yield density + low + 1, above
    yield residual + low, residual_below
    yield residual + low + 1, residual_above


def _folded(
    columns: PairColumns, window_seconds: int, layout: Layout, entries: _Entries, chosen: Ints
) -> Changes:
    """The sums of the chosen pairs, of whom the entries are; a pair counts where it started."""
    width_us = window_seconds * 1_000_000
    starts, window = np.unique(columns.at_us[chosen] // width_us * width_us, return_inverse=True)
    keys: list[Key] = []
    codes = np.full((len(chosen), len(columns.slices)), NO_SLICE, dtype=np.int64)
    for index, rule in enumerate(columns.slices):
        inside = np.flatnonzero(rule.codes[chosen] != NO_SLICE)
        if not len(inside):
            continue
        found, rows = _rows(columns, rule, starts, window[inside], chosen[inside])
        codes[inside, index] = rows + len(keys)
        keys += found
    return dict(zip(keys, entries.table(codes, (len(keys), layout.width)), strict=True))


def _rows(
    columns: PairColumns, rule: SliceColumn, starts: Ints, window: Ints, pairs: Ints
) -> tuple[list[Key], Ints]:
    """The rows of sums that these pairs go to, and for each pair the index of its row."""
    shape = (len(columns.artifacts), len(rule.names), len(starts))
    where = np.ravel_multi_index((columns.artifact[pairs], rule.codes[pairs], window), shape)
    used = np.bincount(where) > 0
    present, codes = np.flatnonzero(used), (np.cumsum(used) - 1)[where]
    keys = [
        (columns.task, columns.artifacts[artifact], rule.names[name], int(starts[start]))
        for artifact, name, start in zip(*np.unravel_index(present, shape), strict=True)
    ]
    return keys, codes


def _fixed_confidence(confidence: Floats) -> Ints:
    """A power of two scales without an error, so this is histograms.fixed to the last bit."""
    found: Ints = np.rint(np.minimum(confidence, 1.0) * UNIT).astype(np.int64)
    return found
