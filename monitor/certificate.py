"""Confidence thresholds above which a student provably disagrees with its teacher rarely enough.

Tests a fixed grid of thresholds from strict to lenient with exact binomial tails (Angelopoulos et al. 2021,
"Learn then Test", with the fallback procedure of Wiens 2003): valid however error depends on confidence.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ledger.artifacts import Certificate
from monitor.calibration import edges
from monitor.intervals import at_most_p_value
from monitor.sums import COVERAGE_EDGES, SliceSums

STARTS = 4  # places of the grid with a level of their own, so that one bad strict threshold does not end all


@dataclass(frozen=True, slots=True)
class Threshold:
    """A confidence from which answers are accepted, with the held-out pairs that it accepts."""

    confidence: float
    accepted: int
    disagreements: int


def certify(
    sums_by_slice: Mapping[str, SliceSums], max_disagreement: float, delta: float, teacher_epoch: str
) -> Certificate:
    """Certify every given slice at once: all thresholds hold together with probability at least 1 - delta.

    `delta` is split over the slices that are large enough to pass at all, which is known from the number of
    pairs and so costs nothing. A slice without a provable threshold is left out of the thresholds.
    """
    least = least_accepted(max_disagreement, delta)
    eligible = [name for name in sorted(sums_by_slice) if sums_by_slice[name].pairs >= least]
    found = {
        name: threshold
        for name in eligible
        if (threshold := lowest_threshold(sums_by_slice[name], max_disagreement, delta / len(eligible)))
    }
    return Certificate(
        max_disagreement=max_disagreement,
        delta=delta,
        teacher_epoch=teacher_epoch,
        thresholds={name: threshold.confidence for name, threshold in found.items()},
        accepted={name: threshold.accepted for name, threshold in found.items()},
        disagreements={name: threshold.disagreements for name, threshold in found.items()},
        pairs={name: sums.pairs for name, sums in sums_by_slice.items()},
    )


def lowest_threshold(sums: SliceSums, max_disagreement: float, delta: float) -> Threshold | None:
    """The lowest threshold of one slice that passes; None where none does, never the strictest instead."""
    grid = list(_grid(sums, least_accepted(max_disagreement, delta / STARTS)))
    starts = {len(grid) * start // STARTS for start in range(STARTS)}
    levels = [delta / len(starts) if index in starts else 0.0 for index in range(len(grid))]
    counts = [(threshold.accepted, threshold.disagreements) for threshold in grid]
    passed = passing(counts, max_disagreement, levels)
    return next((threshold for threshold, ok in reversed(list(zip(grid, passed, strict=True))) if ok), None)


def passing(
    counts: Sequence[tuple[int, int]], max_disagreement: float, levels: Sequence[float]
) -> list[bool]:
    """Which (accepted, disagreements) pass, in a fixed order in which a pass hands its level to the next.

    All of them together pass wrongly with probability at most the sum of the levels. A level in the first
    place alone makes this the fixed-sequence test, which ends with the first failure.
    """
    passed: list[bool] = []
    handed_on = 0.0
    for (accepted, disagreements), own in zip(counts, levels, strict=True):
        level = own + handed_on
        passed.append(level > 0 and at_most_p_value(disagreements, accepted, max_disagreement) <= level)
        handed_on = level if passed[-1] else 0.0
    return passed


def least_accepted(max_disagreement: float, delta: float) -> int:
    """With fewer accepted pairs not even full agreement passes."""
    return math.ceil(math.log(delta) / math.log1p(-max_disagreement))


def _grid(sums: SliceSums, least: int) -> Iterator[Threshold]:
    """From strict to lenient; chosen by confidences alone, so that the choice costs no error probability.

    A threshold that accepts nobody more than the next stricter one is left out.
    """
    previous = 0
    for confidence, (accepted, disagreements) in reversed(
        list(zip(edges(COVERAGE_EDGES), sums.accepted, strict=True))
    ):
        if accepted >= least and accepted > previous:
            yield Threshold(confidence, accepted, disagreements)
        previous = accepted
