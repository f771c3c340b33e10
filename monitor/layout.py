"""Where each field of SliceSums stands in a row of whole numbers, so that many slices are one table."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cache

import numpy as np

from monitor.histograms import LATENCY_EDGES, SHARES, WORD_EDGES, Ints
from monitor.smoothing import POINTS
from monitor.sums import COVERAGE_EDGES, RELIABILITY_BINS, SliceSums
from monitor.temperature import BETAS

_PER_CLASS = ("teacher_classes", "student_classes")
LENGTHS: Mapping[str, int] = {
    **dict.fromkeys(("reliability_pairs", "reliability_confidence", "reliability_right"), RELIABILITY_BINS),
    **dict.fromkeys(("label_pairs", "label_confidence", "label_right"), RELIABILITY_BINS),
    **dict.fromkeys(("coverage_pairs", "coverage_disagreements"), COVERAGE_EDGES),
    **dict.fromkeys(("label_coverage_pairs", "label_coverage_errors"), COVERAGE_EDGES),
    **dict.fromkeys(("total_variation_histogram", "divergence_histogram"), SHARES),
    **dict.fromkeys(("student_confidence", "teacher_confidence"), SHARES),
    **dict.fromkeys(("tempered_nats", "label_tempered_nats"), len(BETAS) + 1),
    **dict.fromkeys(("smooth_density", "smooth_residual"), POINTS),
    **dict.fromkeys(("label_smooth_density", "label_smooth_residual"), POINTS),
    **dict.fromkeys(("student_latency", "teacher_latency"), len(LATENCY_EDGES)),
    "words": len(WORD_EDGES),
}


@dataclass(frozen=True, slots=True)
class Layout:
    """Offsets of the fields in a row; a field of one number has length 1."""

    names: tuple[str, ...]
    offsets: tuple[int, ...]  # one more than names: where each begins, and where the last ends

    @property
    def width(self) -> int:
        return self.offsets[-1]

    def __getitem__(self, name: str) -> int:
        return self.offsets[self.names.index(name)]

    def sums(self, table: Ints) -> Iterator[SliceSums]:
        """The rows of a table."""
        vectors = [name in LENGTHS or name in _PER_CLASS for name in self.names]
        offsets = np.array(self.offsets)
        owners = np.repeat(np.arange(len(self.names)), np.diff(offsets))
        for row in table:
            used = np.flatnonzero(row)
            owner = owners[used]
            bounds = np.searchsorted(owner, np.arange(len(self.names) + 1)).tolist()
            entries = list(zip((used - offsets[owner]).tolist(), row[used].tolist(), strict=True))
            values = {
                name: tuple(entries[low:high]) if is_vector else entries[low][1]
                for name, is_vector, low, high in zip(self.names, vectors, bounds, bounds[1:], strict=False)
                if low < high
            }
            yield SliceSums(**values)


@cache
def layout_of(classes: int) -> Layout:
    names = tuple(field.name for field in fields(SliceSums))
    lengths = [classes if name in _PER_CLASS else LENGTHS.get(name, 1) for name in names]
    return Layout(names, (0, *np.cumsum(lengths).tolist()))
