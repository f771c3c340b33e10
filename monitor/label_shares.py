"""What labels say of a slice as shares of their weight, with bounds that count labels by their effective number."""

from dataclasses import dataclass

from monitor.intervals import INTERVAL_ALPHA, BoundedShare, weighted_share
from monitor.sums import SliceSums


@dataclass(frozen=True, slots=True)
class LabelShares:
    accuracy: BoundedShare
    teacher_accuracy: BoundedShare
    regret: BoundedShare


def label_shares(sums: SliceSums, alpha: float = INTERVAL_ALPHA) -> LabelShares:
    """Bounds hold at every look for labels of equal weight; for weighted ones they are an approximation."""
    both, student_alone, teacher_alone, _ = sums.label_table

    def share(part: float) -> BoundedShare:
        return weighted_share(part, sums.label_weight, sums.label_worth, alpha)

    return LabelShares(share(both + student_alone), share(both + teacher_alone), share(teacher_alone))
