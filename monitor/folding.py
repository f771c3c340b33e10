"""Pairs as columns become sums by task, student, slice and window: SliceSums.of_pair and merge, all at once.

Every pair is a list of (place in the row of its slice, whole number); one histogram over places adds them up. It
adds as floats, and exactly: so few pairs at a time that no sum leaves the 53 bits of a float.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from monitor.calibration import edges
from monitor.columns import NO_LATENCY, NO_SLICE, PairColumns, SliceColumn
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
from monitor.smoothing import grid_place, grid_shares
from monitor.sums import COVERAGE_EDGES, RELIABILITY_BINS, SliceSums, merged

Key = tuple[str, str, str, int]  # task, artifact, slice, window start
Changes = Mapping[Key, SliceSums]

NO_LABEL = -1  # code of a pair whose true class is unknown
EXACT = 2**15  # pairs whose sums fit: 2**15 losses below 32 nats, in units of 2**-32, stay below 2**53

Column = tuple[Ints, Ints | Bools]  # by pair: place in a row of sums, and the whole number to add there


def pair_sums(columns: PairColumns, window_seconds: int) -> Iterator[Changes]:
    """What pairs add to the rows of each rule's slices, without their labels."""
    layout = layout_of(columns.classes)
    entries = list(_pair_entries(columns, layout))
    yield from _folded(columns, window_seconds, layout, entries, np.arange(len(columns)))


def label_sums(columns: PairColumns, labels: Ints, window_seconds: int) -> Iterator[Changes]:
    """What true classes add for those pairs that have one: `labels` has a class or NO_LABEL for each pair."""
    known = np.flatnonzero(labels != NO_LABEL)
    if not len(known):
        return
    layout = layout_of(columns.classes)
    entries = list(_label_entries(columns, labels[known], known, layout))
    yield from _folded(columns, window_seconds, layout, entries, known)


def merged_changes(changes: Iterable[Changes]) -> dict[Key, SliceSums]:
    """One change for each row."""
    parts: dict[Key, list[SliceSums]] = {}
    for some in changes:
        for key, sums in some.items():
            parts.setdefault(key, []).append(sums)
    return {key: group[0] if len(group) == 1 else merged(group) for key, group in parts.items()}


def _pair_entries(columns: PairColumns, layout: Layout) -> Iterator[Column]:
    measures = columns.measures
    agrees, ones = measures.agrees, np.ones(len(columns), dtype=np.int64)
    reliability, coverage = (_bins(measures.confidence, n) for n in (RELIABILITY_BINS, COVERAGE_EDGES))
    variation, bits = measures.total_variation, measures.divergence_bits
    of_whole_row = {
        "pairs": ones,
        "agreements": agrees,
        "total_variation": variation,
        "total_variation_squares": square(variation),
        "divergence_bits": bits,
        "divergence_squares": square(bits),
        "kl_nats": measures.kl_nats,
        "kl_clipped": measures.kl_clipped,
        "brier": measures.brier,
        "nll_nats": measures.nll_nats,
        "teacher_other": columns.teacher_other,
    }
    for name, amounts in of_whole_row.items():
        yield layout[name] * ones, amounts
    yield layout["total_variation_histogram"] + share_bin(variation), ones
    yield layout["divergence_histogram"] + share_bin(bits), ones
    yield layout["reliability_pairs"] + reliability, ones
    yield layout["reliability_confidence"] + reliability, _fixed_confidence(measures.confidence)
    yield layout["reliability_right"] + reliability, agrees
    yield layout["coverage_pairs"] + coverage, ones
    yield layout["coverage_disagreements"] + coverage, ~agrees
    yield layout["teacher_classes"] + measures.teacher_top, ones
    yield layout["student_classes"] + measures.student_top, ones
    yield layout["student_confidence"] + confidence_bins(measures.confidence), ones
    yield layout["teacher_confidence"] + confidence_bins(measures.teacher_confidence), ones
    yield layout["words"] + places(columns.words, WORD_EDGES), ones
    yield from _tempered(measures.tempered, layout["tempered_nats"])
    yield from _on_grid(measures.confidence, agrees, layout["smooth_density"], layout["smooth_residual"])
    yield from _latency(columns.student_latency_us, layout, "student")
    yield from _latency(columns.teacher_latency_us, layout, "teacher")


def _label_entries(columns: PairColumns, labels: Ints, known: Ints, layout: Layout) -> Iterator[Column]:
    """Entries of the pairs `known` alone, whose true classes are `labels`."""
    measures, ones = columns.measures, np.ones(len(known), dtype=np.int64)
    confidence = measures.confidence[known]
    teacher, student = measures.teacher_top[known] == labels, measures.student_top[known] == labels
    reliability, coverage = (_bins(confidence, n) for n in (RELIABILITY_BINS, COVERAGE_EDGES))
    truth = np.zeros((len(known), columns.classes))
    truth[np.arange(len(known)), labels] = 1.0
    losses = measures_of(truth, columns.student[known])
    of_whole_row = {
        "both_right": student & teacher,
        "student_alone_right": student & ~teacher,
        "teacher_alone_right": teacher & ~student,
        "both_wrong": ~student & ~teacher,
        "label_brier": losses.brier,
        "label_nll_nats": losses.nll_nats,
    }
    for name, amounts in of_whole_row.items():
        yield layout[name] * ones, amounts
    yield layout["label_pairs"] + reliability, ones
    yield layout["label_confidence"] + reliability, _fixed_confidence(confidence)
    yield layout["label_right"] + reliability, student
    yield layout["label_coverage_pairs"] + coverage, ones
    yield layout["label_coverage_errors"] + coverage, ~student
    yield from _tempered(losses.tempered, layout["label_tempered_nats"])
    grids = layout["label_smooth_density"], layout["label_smooth_residual"]
    yield from _on_grid(confidence, student, *grids)


def _tempered(amounts: Ints, offset: int) -> Iterator[Column]:
    for index, column in enumerate(amounts.T):
        yield np.full(len(column), offset + index), column


def _on_grid(confidence: Floats, right: Bools, density: int, residual: int) -> Iterator[Column]:
    sure = _fixed_confidence(confidence)
    low = grid_place(sure)
    below, above, residual_below, residual_above = grid_shares(sure, right.astype(np.int64))
    yield density + low, below
    yield density + low + 1, above
    yield residual + low, residual_below
    yield residual + low + 1, residual_above


def _latency(latency_us: Ints, layout: Layout, side: str) -> Iterator[Column]:
    timed = latency_us != NO_LATENCY
    yield np.full(len(timed), layout[f"{side}_latency_us"]), np.where(timed, latency_us, 0)
    yield layout[f"{side}_latency"] + places(latency_us, LATENCY_EDGES), timed


def _folded(
    columns: PairColumns, window_seconds: int, layout: Layout, entries: Sequence[Column], chosen: Ints
) -> Iterator[Changes]:
    """For each rule, the sums of the chosen pairs, of whom the entries are; a pair counts where it started."""
    places_of, amounts = (np.stack(side, axis=1) for side in zip(*entries, strict=True))
    width_us = window_seconds * 1_000_000
    starts, window = np.unique(columns.at_us[chosen] // width_us * width_us, return_inverse=True)
    for rule in columns.slices:
        inside = np.flatnonzero(rule.codes[chosen] != NO_SLICE)
        keys, codes = _rows(columns, rule, starts, window[inside], chosen[inside])
        table = _table(places_of, amounts, inside, codes, (len(keys), layout.width))
        yield dict(zip(keys, layout.sums(table), strict=True))


def _rows(
    columns: PairColumns, rule: SliceColumn, starts: Ints, window: Ints, pairs: Ints
) -> tuple[list[Key], Ints]:
    """The rows of sums that these pairs go to, and for each pair the index of its row."""
    shape = (len(columns.artifacts), len(rule.names), len(starts))
    where = np.ravel_multi_index((columns.artifact[pairs], rule.codes[pairs], window), shape)
    present, codes = np.unique(where, return_inverse=True)
    keys = [
        (columns.task, columns.artifacts[artifact], rule.names[name], int(starts[start]))
        for artifact, name, start in zip(*np.unravel_index(present, shape), strict=True)
    ]
    return keys, codes


def _table(places_of: Ints, amounts: Ints, inside: Ints, codes: Ints, shape: tuple[int, int]) -> Ints:
    """[rows, width]: everything added up."""
    table = np.zeros(shape[0] * shape[1], dtype=np.int64)
    for first in range(0, len(inside), EXACT):
        part = slice(first, first + EXACT)
        at = places_of[inside[part]] + (codes[part] * shape[1])[:, None]
        table += np.bincount(at.ravel(), amounts[inside[part]].ravel(), len(table)).astype(np.int64)
    return table.reshape(shape)


def _bins(confidence: Floats, bins: int) -> Ints:
    """bin_of, for many."""
    found: Ints = np.searchsorted(np.array(edges(bins))[1:], confidence, side="right")
    return found


def _fixed_confidence(confidence: Floats) -> Ints:
    """A power of two scales without an error, so this is histograms.fixed to the last bit."""
    found: Ints = np.rint(np.minimum(confidence, 1.0) * UNIT).astype(np.int64)
    return found
