"""What became of a quantized file: usable, with what was measured, or not, with a reason in a sentence."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

from distill.training.calibrate import Calibration
from distill.training.exported import Matrix
from ledger.artifacts import Manifest, Precision

FLIP_LIMIT = 0.005  # of all judged rows
SLICE_FLIP_LIMIT = 0.01  # of each slice's
LEAST_SLICE_ROWS = 100  # of fewer a single flip is above the limit, whatever the student
PADDING_LIMIT = 1e-3  # of a probability, a row alone against the same row in a batch
LEAST_SAVING = 0.2  # of the file's bytes; less is not worth another artifact


class Obstacle(StrEnum):
    """Why there is no such artifact."""

    QUANTIZER_FAILED = "quantizer_failed"
    NO_PRODUCTS = "no_products"  # dynamic INT8 has nothing to make faster
    NOT_SMALLER = "not_smaller"
    FLIPS = "flips"  # overall
    SLICE_FLIPS = "slice_flips"


@dataclass(frozen=True, slots=True)
class Flips:
    """Rows whose class changed from FP32 to INT8; `by_slice` has the slices of LEAST_SLICE_ROWS rows or more."""

    rows: int
    flipped: int
    by_slice: Mapping[str, tuple[int, int]]  # flipped, rows

    @property
    def rate(self) -> float:
        return self.flipped / self.rows if self.rows else 0.0


@dataclass(frozen=True, slots=True)
class Padding:
    """A row alone against the same row padded among others."""

    flips: int
    rows: int
    largest: float  # change of a probability

    @property
    def holds(self) -> bool:
        return self.flips == 0 and self.largest <= PADDING_LIMIT


@dataclass(frozen=True, slots=True)
class QuantizedArtifact:
    """A usable file in its folder, with a tokenizer beside it; not yet sealed, not yet judged by the gate."""

    precision: Precision
    folder: Path
    calibration: Calibration
    flips: Flips
    padding: Padding
    bytes: int
    from_bytes: int
    processor: tuple[str, ...]  # INT8 instructions of the machine that judged it

    @property
    def max_batch(self) -> int | None:
        """Rows that may share a run; None: as many as fit."""
        return None if self.padding.holds else 1


@dataclass(frozen=True, slots=True)
class NotUsable:
    """Why a precision has no artifact, in a sentence."""

    precision: Precision
    obstacle: Obstacle
    reason: str


def flips_between(before: Matrix, after: Matrix, slices: Sequence[Sequence[str]]) -> Flips:
    """Changed classes between two students' logits [rows, classes], overall and slice by slice."""
    changed = before.argmax(axis=1) != after.argmax(axis=1)
    members: dict[str, list[int]] = {}
    for row, names in enumerate(slices):
        for name in names:
            members.setdefault(name, []).append(row)
    by_slice = {
        name: (int(changed[rows].sum()), len(rows))
        for name, rows in sorted(members.items())
        if len(rows) >= LEAST_SLICE_ROWS
    }
    return Flips(len(changed), int(changed.sum()), by_slice)


def obstacle_of(made: QuantizedArtifact) -> NotUsable | None:
    """What makes the file unusable, if anything does."""
    if made.bytes > (1 - LEAST_SAVING) * made.from_bytes:
        reason = f"{made.bytes} bytes of {made.from_bytes}: it saves less than {LEAST_SAVING:.0%}"
        return NotUsable(made.precision, Obstacle.NOT_SMALLER, reason)
    if made.flips.rate > FLIP_LIMIT:
        reason = (
            f"{made.flips.flipped} of {made.flips.rows} answers are another class than in FP32"
            f" ({made.flips.rate:.2%}; the limit is {FLIP_LIMIT:.1%}); FP32 is not affected"
        )
        return NotUsable(made.precision, Obstacle.FLIPS, reason)
    worst = max(made.flips.by_slice.items(), key=lambda entry: entry[1][0] / entry[1][1], default=None)
    if worst and worst[1][0] / worst[1][1] > SLICE_FLIP_LIMIT:
        name, (flipped, rows) = worst
        reason = (
            f"{flipped} of {rows} answers of {name} are another class than in FP32"
            f" ({flipped / rows:.2%}; the limit is {SLICE_FLIP_LIMIT:.0%}); FP32 is not affected"
        )
        return NotUsable(made.precision, Obstacle.SLICE_FLIPS, reason)
    return None


def quantized_manifest(source: Manifest, source_digest: str, made: QuantizedArtifact) -> Manifest:
    """The manifest of the quantized file before it is timed, judged and sealed."""
    lineage = source.lineage.model_copy(update={"quantized_from": source_digest})
    return source.model_copy(
        update={
            "precision": made.precision,
            "max_batch": made.max_batch,
            "temperature": made.calibration.temperature,
            "calibration": f"{made.calibration.outcome} on {made.calibration.rows} rows",
            "quantization": record_of(made),
            "lineage": lineage,
            "files": {},
        }
    )


def record_of(made: QuantizedArtifact) -> dict[str, object]:
    """What was measured, as JSON."""
    return {
        "rows": made.flips.rows,
        "flip_rate": made.flips.rate,
        "flips_by_slice": {name: list(pair) for name, pair in made.flips.by_slice.items()},
        "padding": asdict(made.padding),
        "bytes": made.bytes,
        "from_bytes": made.from_bytes,
        "processor": list(made.processor),
    }
