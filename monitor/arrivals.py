"""Whether the share of pairs that get a label still is what it was: without that, an alarm on labels means nothing.

No test can tell a student that became worse from labels that came to be given to its mistakes. So an alarm on labels
is refused where the label-arrival share itself moved. Pairs are counted as they come and labels as they come, and the
pairs since the last label belong to the next one: a file of labels each night moves nothing.
"""

from collections.abc import Iterable
from typing import NamedTuple

from monitor.histograms import COARSE
from monitor.intervals import at_least_p_value, at_most_p_value

MARGIN = 0.5  # a share that rises or falls by less than this factor has not moved
ALPHA = 0.01  # probability of refusing, on each side, where the share moved by just the margin


class Flow(NamedTuple):
    """What came in some time: pairs of a slice, and labels of its pairs."""

    pairs: int = 0
    weight: int = 0  # of the labels, fixed point 2**-20
    squares: int = 0  # of the weights, fixed point 2**-20

    @property
    def effective(self) -> float:
        """Equally weighted labels that would say as much."""
        return self.weight**2 / (self.squares * COARSE) if self.squares else 0.0

    @property
    def share(self) -> float:
        """Labelled, of the pairs; weighted labels stand for those that were not chosen. 0 without pairs."""
        return self.weight / COARSE / self.pairs if self.pairs else 0.0


NO_FLOW = Flow()


def flow_of(pairs: int, weights: Iterable[int]) -> Flow:
    found = list(weights)
    return Flow(pairs, sum(found), sum(weight * weight >> 20 for weight in found))


def joined(flows: Iterable[Flow]) -> Flow:
    pairs = weight = squares = 0
    for flow in flows:
        pairs, weight, squares = pairs + flow.pairs, weight + flow.weight, squares + flow.squares
    return Flow(pairs, weight, squares)


def moved(before: Flow, since: Flow) -> str | None:
    """Why labels of `since` cannot be compared with those of `before`; None where the share has not moved.

    Given how many labels came in both together, those since then are binomial (labels as Poisson counts over pairs);
    the exact tails are taken at a share that rose or fell by the margin.
    """
    if not before.weight or not before.pairs or not since.weight:
        return "no labels came before the change that the alarm is about, so their share cannot be compared"
    earlier, later = round(before.effective), round(since.effective)
    exposed = since.pairs * (since.effective * COARSE / since.weight)
    expected = before.pairs * (before.effective * COARSE / before.weight)
    more, fewer = exposed * (1 + MARGIN), exposed / (1 + MARGIN)
    rose = at_least_p_value(later, earlier + later, more / (expected + more))
    fell = at_most_p_value(later, earlier + later, fewer / (expected + fewer))
    if min(rose, fell) >= ALPHA:
        return None
    return (
        f"labels came for {before.share:.1%} of the slice's pairs before, and for {since.share:.1%} since:"
        " what is labelled has changed, so its losses say nothing of the others"
    )
