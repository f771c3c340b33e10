"""How far apart the two distributions are, as losses of a detector, with nulls from the rows of the gate.

A detector has half as many bins as the sums. A loss counts as its bin's lower edge, in the reference as in live
traffic, so that rounding costs power and no validity.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from ledger.configuration import TriggerSection
from ledger.harms import Harm
from ledger.slices import OVERALL
from monitor.baseline import CEILING, REFERENCE_DELTA, Null
from monitor.detector import lower_edges
from monitor.histograms import SHARES
from monitor.intervals import mean_upper_bound
from monitor.statistics import reference_in
from monitor.sums import SliceSums, Vector, filled

BINS = SHARES // 2
LOSSES = lower_edges(BINS)
DISTANCES = (Harm.TOTAL_VARIATION, Harm.DIVERGENCE_BITS)

_bound = lru_cache(maxsize=8192)(mean_upper_bound)  # asked for at every tick, of the same counts


def null_of_distance(
    harm: Harm, slice_name: str, reference: Mapping[str, Mapping[str, Any]], trigger: TriggerSection
) -> Null | None:
    """From the slice's own gate rows where there are enough, else from those of the overall slice, else None.

    `reference` is the manifest's; a student of an earlier release has none with distances.
    """
    counts = _counts(harm, reference_in(reference, slice_name))
    if sum(counts) >= trigger.reference_pairs:
        return _from_counts(counts, len(reference), trigger.tolerance)
    if slice_name == OVERALL:
        return None
    parent = null_of_distance(harm, OVERALL, reference, trigger)
    return (
        None
        if parent is None
        else Null(parent.m0, "parent", f"the overall slice's null: {parent.reason}", parent.rate)
    )


def coarse(histogram: Vector) -> tuple[int, ...]:
    """The sums' histogram in the detector's bins."""
    fine = filled(histogram, SHARES)
    return tuple(fine[2 * place] + fine[2 * place + 1] for place in range(BINS))


def _counts(harm: Harm, sums: SliceSums | None) -> tuple[int, ...]:
    if sums is None:
        return (0,) * BINS
    return coarse(
        sums.total_variation_histogram if harm is Harm.TOTAL_VARIATION else sums.divergence_histogram
    )


def _from_counts(counts: Sequence[int], slices: int, tolerance: float) -> Null:
    pairs = sum(counts)
    mean = sum(count * loss for count, loss in zip(counts, LOSSES, strict=True)) / pairs
    bound = _bound(tuple(counts), LOSSES, REFERENCE_DELTA / slices)
    reason = f"{mean:.4f} on average over {pairs} pairs of the gate: upper bound {bound:.4f}, tolerance {tolerance}"
    return Null(min(CEILING, bound + tolerance), "gate", reason, mean)
