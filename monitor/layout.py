"""Where each field of SliceSums stands in a row of whole numbers, so that many slices are one table."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from itertools import chain
from typing import Any

import numpy as np

from ledger.spots import BANDS, REGIONS
from monitor.histograms import LATENCY_EDGES, SHARES, WORD_EDGES, Ints
from monitor.smoothing import POINTS
from monitor.sums import COVERAGE_EDGES, FORMAT, LABEL_TABLE, RELIABILITY_BINS, SliceSums
from monitor.temperature import BETAS

PER_CLASS = ("teacher_classes", "student_classes")
LENGTHS: Mapping[str, int] = {
    **dict.fromkeys(("reliability_pairs", "reliability_confidence", "reliability_right"), RELIABILITY_BINS),
    **dict.fromkeys(("label_pairs", "label_confidence", "label_right"), RELIABILITY_BINS),
    **dict.fromkeys(("coverage_pairs", "coverage_disagreements"), COVERAGE_EDGES),
    **dict.fromkeys(("label_coverage_pairs", "label_coverage_errors"), COVERAGE_EDGES),
    **dict.fromkeys(
        ("label_coverage_teacher_errors", "label_coverage_teacher_errors_excess"), COVERAGE_EDGES
    ),
    **dict.fromkeys(("label_coverage_pairs_excess", "label_coverage_errors_excess"), COVERAGE_EDGES),
    **dict.fromkeys(("label_pairs_excess", "label_right_excess", "label_squares_excess"), RELIABILITY_BINS),
    "label_table_excess": LABEL_TABLE,
    **dict.fromkeys(("total_variation_histogram", "divergence_histogram"), SHARES),
    **dict.fromkeys(("student_confidence", "teacher_confidence"), SHARES),
    **dict.fromkeys(("tempered_nats", "label_tempered_nats"), len(BETAS) + 1),
    **dict.fromkeys(("smooth_density", "smooth_residual"), POINTS),
    **dict.fromkeys(("label_smooth_density", "label_smooth_residual"), POINTS),
    **dict.fromkeys(("student_latency", "teacher_latency"), len(LATENCY_EDGES)),
    "words": len(WORD_EDGES),
    "regions": REGIONS,
    "bands": BANDS,
}


@dataclass(frozen=True, slots=True)
class Layout:
    """Offsets of the fields in a row; a field of one number has length 1."""

    offsets: Mapping[str, int]  # in the order of the fields of SliceSums
    ends: tuple[int, ...]  # of the same fields
    owners: Ints  # by place: index of its field

    @property
    def width(self) -> int:
        return self.ends[-1]

    def __getitem__(self, name: str) -> int:
        return self.offsets[name]

    def document(self, row: Ints) -> dict[str, Any]:
        """SliceSums.to_json of a row."""
        used = np.flatnonzero(row)
        owner = self.owners[used]
        bounds = np.searchsorted(owner, np.arange(len(self.ends) + 1)).tolist()
        begins = np.array([0, *self.ends])[owner]
        entries = np.stack([used - begins, row[used]], axis=1).tolist()
        found: dict[str, Any] = {"format": FORMAT}
        for name, low, high in zip(self.offsets, bounds, bounds[1:], strict=False):
            if low < high:
                found[name] = entries[low:high] if is_vector(name) else entries[low][1]
        return found

    def row(self, document: Mapping[str, Any]) -> Ints:
        """The inverse. Raises ValueError where a field or an index has no place in it."""
        row = np.zeros(self.width, dtype=np.int64)
        names = [name for name in document if name != "format"]
        if document["format"] != FORMAT or any(name not in self.offsets for name in names):
            raise ValueError(
                f"sums of format {document['format']!r} with the fields {names} have no place here"
            )
        vectors = [name for name in names if is_vector(name)]
        lengths = [len(document[name]) for name in vectors]
        entries = chain.from_iterable(chain.from_iterable(document[name] for name in vectors))
        index, amount = np.fromiter(entries, np.int64, 2 * sum(lengths)).reshape(-1, 2).T
        firsts = np.array([self.offsets[name] for name in vectors], dtype=np.int64)
        begins, fields_of = np.repeat(firsts, lengths), np.repeat(self.owners[firsts], lengths)
        places = begins + index
        if len(places) and (index.min() < 0 or (places >= np.array(self.ends)[fields_of]).any()):
            raise ValueError("a class or bin of these sums has no place among those of now")
        row[places] = amount
        for name in names:
            if not is_vector(name):
                row[self.offsets[name]] = document[name]
        return row


def is_vector(name: str) -> bool:
    return name in LENGTHS or name in PER_CLASS


@cache
def layout_of(classes: int) -> Layout:
    names = [field.name for field in fields(SliceSums)]
    lengths = [classes if name in PER_CLASS else LENGTHS.get(name, 1) for name in names]
    ends = np.cumsum(lengths)
    offsets = dict(zip(names, (ends - lengths).tolist(), strict=True))
    return Layout(offsets, tuple(ends.tolist()), np.repeat(np.arange(len(names)), lengths))


def layout_for(row: Ints) -> Layout:
    """Of a row that was folded: its width says how many classes there are."""
    return layout_of((len(row) - layout_of(0).width) // len(PER_CLASS))


def sums_of_row(row: Ints) -> SliceSums:
    """The same as an object, for whoever wants to read it."""
    return SliceSums.from_json(layout_for(row).document(row))
