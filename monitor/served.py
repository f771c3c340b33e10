"""How many inputs a certificate would serve, from the sums of its slices alone.

An input is served if its confidence clears the threshold of every slice that it lies in. Slices of one rule exclude
each other, so with one rule the counts are exact; what two rules withhold may be the same inputs or others, so with
more the counts are bounded from both sides.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ledger.slices import OVERALL, SliceRule, rule_of
from monitor.intervals import INTERVAL_ALPHA, confidence_sequence
from monitor.sums import SliceSums

Counts = tuple[int, int]  # (agreements, disagreements)
Between = tuple[int, int]  # (least, most)


@dataclass(frozen=True, slots=True)
class Range:
    """A share whose counts lie between two, with bounds that hold at every look; `value` where they are one."""

    part_low: int
    part_high: int
    whole_low: int
    whole_high: int
    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Served:
    """What every threshold together would serve."""

    coverage: Range  # of all pairs
    disagreement: Range  # of the served ones


def served_by(
    sums_by_slice: Mapping[str, SliceSums],
    rules: Sequence[SliceRule],
    thresholds: Mapping[str, float],
    alpha: float = INTERVAL_ALPHA,
) -> Served:
    """With a threshold of the overall slice missing, nothing is served."""
    overall = sums_by_slice.get(OVERALL, SliceSums())
    accepted = _accepted(overall, thresholds.get(OVERALL))
    withheld = _withheld_by_rule(sums_by_slice, rules, thresholds)
    agreements, disagreements = (
        _kept(accepted[side], [counts[side] for counts in withheld]) for side in (0, 1)
    )
    pairs = _kept(sum(accepted), [sum(counts) for counts in withheld])
    rest = overall.pairs - pairs[0], overall.pairs - pairs[1]
    return Served(_range(pairs, (rest[1], rest[0]), alpha), _range(disagreements, agreements, alpha))


def _kept(accepted: int, withheld: Sequence[int]) -> Between:
    """What rules withhold may be apart, or all the same inputs."""
    return max(0, accepted - sum(withheld)), accepted - max(withheld, default=0)


def _accepted(sums: SliceSums, threshold: float | None) -> Counts:
    if threshold is None:
        return 0, 0
    pairs, disagreements = sums.accepted_from(threshold)
    return pairs - disagreements, disagreements


def _withheld_by_rule(
    sums_by_slice: Mapping[str, SliceSums], rules: Sequence[SliceRule], thresholds: Mapping[str, float]
) -> list[Counts]:
    """Beyond what the overall threshold withholds, by rule that decides who serves."""
    overall = thresholds.get(OVERALL)
    if overall is None:
        return []
    found: dict[str, list[Counts]] = {}
    for name, sums in sums_by_slice.items():
        rule = rule_of(rules, name)
        if rule is not None and rule.decides_who_serves:
            own = thresholds.get(name)
            both = None if own is None else max(own, overall)
            above, kept = _accepted(sums, overall), _accepted(sums, both)
            found.setdefault(rule.name, []).append((above[0] - kept[0], above[1] - kept[1]))
    return [(sum(n for n, _ in slices), sum(k for _, k in slices)) for slices in found.values()]


def _range(part: Between, others: Between, alpha: float) -> Range:
    """Of a part and of what is beside it in the whole; the share rises with the one and falls with the other."""
    least, most = part[0] + others[1], part[1] + others[0]
    is_exact = part[0] == part[1] and others[0] == others[1]
    return Range(
        part_low=part[0],
        part_high=part[1],
        whole_low=min(least, most),
        whole_high=max(least, most),
        value=part[0] / least if is_exact and least else None,
        low=confidence_sequence(part[0], least, alpha)[0] if least else None,
        high=confidence_sequence(part[1], most, alpha)[1] if most else None,
    )
