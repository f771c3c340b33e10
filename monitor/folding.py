"""Pairs as columns become sums by task, student, slice and window: SliceSums.of_pair and merge, all at once.

Every number is added as an integer, so the sums are those of merging pair by pair.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from monitor.calibration import edges
from monitor.columns import PairColumns
from monitor.measures import Bools, Floats, Ints
from monitor.slicing import NO_SLICE, SliceColumn
from monitor.sums import COVERAGE_EDGES, RELIABILITY_BINS, UNIT, SliceSums, Vector, merged

Key = tuple[str, str, str, int]  # task, artifact, slice, window start
Changes = Mapping[Key, SliceSums]
Parts = Mapping[str, list[Any]]  # field of SliceSums -> its value by key

NO_LABEL = -1  # code of a pair whose true class is unknown


@dataclass(frozen=True, slots=True)
class _Groups:
    """The rows of sums that pairs go to; `places` and `codes` go together."""

    keys: tuple[Key, ...]
    places: Ints  # of the pairs that belong to a slice of the rule
    codes: Ints  # index into keys

    def counts(self, weights: Ints | Bools) -> list[int]:
        """The sum of the weights by key; weights are given for every pair, in a slice or not."""
        table = self.histogram(np.zeros(len(weights), dtype=np.int64), 1, weights)
        return [int(count) for count in table[:, 0]]

    def vectors(self, bins: Ints, length: int, weights: Ints | Bools | None = None) -> list[Vector]:
        """By key, the sums of the weights in each bin; counts without weights."""
        table = self.histogram(
            bins, length, np.ones(len(bins), dtype=np.int64) if weights is None else weights
        )
        vectors: list[list[tuple[int, int]]] = [[] for _ in self.keys]
        rows, columns = np.nonzero(table)
        for row, column, count in zip(
            rows.tolist(), columns.tolist(), table[rows, columns].tolist(), strict=True
        ):
            vectors[row].append((column, count))
        return [tuple(vector) for vector in vectors]

    def histogram(self, bins: Ints, length: int, weights: Ints | Bools) -> Ints:
        """[keys, length]. np.add.at adds integers; np.bincount would add its weights as floats."""
        table = np.zeros(len(self.keys) * length, dtype=np.int64)
        np.add.at(table, self.codes * length + bins[self.places], weights[self.places].astype(np.int64))
        return table.reshape(len(self.keys), length)


def pair_sums(columns: PairColumns, window_seconds: int) -> Iterator[Changes]:
    """What pairs add to the rows of each rule's slices, without their labels."""
    measures = columns.measures
    reliability, coverage = (_bins(measures.confidence, n) for n in (RELIABILITY_BINS, COVERAGE_EDGES))
    confidence, agrees = _fixed_confidence(measures.confidence), measures.agrees
    for groups in _groups(columns, window_seconds):
        parts: Parts = {
            "pairs": groups.counts(np.ones(len(columns), dtype=np.int64)),
            "agreements": groups.counts(agrees),
            "total_variation": groups.counts(measures.total_variation),
            "divergence_bits": groups.counts(measures.divergence_bits),
            "kl_nats": groups.counts(measures.kl_nats),
            "kl_clipped": groups.counts(measures.kl_clipped),
            "brier": groups.counts(measures.brier),
            "nll_nats": groups.counts(measures.nll_nats),
            "reliability_pairs": groups.vectors(reliability, RELIABILITY_BINS),
            "reliability_confidence": groups.vectors(reliability, RELIABILITY_BINS, confidence),
            "reliability_right": groups.vectors(reliability, RELIABILITY_BINS, agrees),
            "coverage_pairs": groups.vectors(coverage, COVERAGE_EDGES),
            "coverage_disagreements": groups.vectors(coverage, COVERAGE_EDGES, ~agrees),
            "teacher_classes": groups.vectors(measures.teacher_top, columns.classes),
            "student_classes": groups.vectors(measures.student_top, columns.classes),
        }
        yield _sums_by_key(groups, parts)


def label_sums(columns: PairColumns, labels: Ints, window_seconds: int) -> Iterator[Changes]:
    """What true classes add for those pairs that have one: `labels` has a class or NO_LABEL for each pair."""
    measures, known = columns.measures, labels != NO_LABEL
    if not known.any():
        return
    teacher, student = measures.teacher_top == labels, measures.student_top == labels
    bins, confidence = _bins(measures.confidence, RELIABILITY_BINS), _fixed_confidence(measures.confidence)
    for groups in _groups(columns, window_seconds, known):
        parts: Parts = {
            "both_right": groups.counts(student & teacher),
            "student_alone_right": groups.counts(student & ~teacher),
            "teacher_alone_right": groups.counts(teacher & ~student),
            "both_wrong": groups.counts(~student & ~teacher),
            "label_pairs": groups.vectors(bins, RELIABILITY_BINS),
            "label_confidence": groups.vectors(bins, RELIABILITY_BINS, confidence),
            "label_right": groups.vectors(bins, RELIABILITY_BINS, student),
        }
        yield _sums_by_key(groups, parts)


def merged_changes(changes: Iterable[Changes]) -> dict[Key, SliceSums]:
    """One change for each row."""
    parts: dict[Key, list[SliceSums]] = {}
    for some in changes:
        for key, sums in some.items():
            parts.setdefault(key, []).append(sums)
    return {key: group[0] if len(group) == 1 else merged(group) for key, group in parts.items()}


def _sums_by_key(groups: _Groups, parts: Parts) -> Changes:
    names = tuple(parts)
    return {
        key: SliceSums(**dict(zip(names, values, strict=True)))
        for key, *values in zip(groups.keys, *parts.values(), strict=True)
    }


def _groups(columns: PairColumns, window_seconds: int, chosen: Bools | None = None) -> Iterator[_Groups]:
    """For each rule, the rows of sums of the chosen pairs; a pair counts where its exchange started."""
    width = window_seconds * 1_000_000
    starts, window = np.unique(columns.at_us // width * width, return_inverse=True)
    for rule in columns.slices:
        inside = rule.codes != NO_SLICE
        places = np.flatnonzero(inside if chosen is None else inside & chosen)
        yield _grouped(columns, rule, starts, window, places)


def _grouped(columns: PairColumns, rule: SliceColumn, starts: Ints, window: Ints, places: Ints) -> _Groups:
    shape = (len(columns.artifacts), len(rule.names), len(starts))
    where = np.ravel_multi_index((columns.artifact[places], rule.codes[places], window[places]), shape)
    present, codes = np.unique(where, return_inverse=True)
    keys = tuple(
        (columns.task, columns.artifacts[artifact], rule.names[name], int(starts[start]))
        for artifact, name, start in zip(*np.unravel_index(present, shape), strict=True)
    )
    return _Groups(keys, places, codes)


def _bins(confidence: Floats, bins: int) -> Ints:
    """bin_of, for many."""
    found: Ints = np.searchsorted(np.array(edges(bins))[1:], confidence, side="right")
    return found


def _fixed_confidence(confidence: Floats) -> Ints:
    """A power of two scales without an error, so this is sums.fixed to the last bit."""
    found: Ints = np.rint(np.minimum(confidence, 1.0) * UNIT).astype(np.int64)
    return found
