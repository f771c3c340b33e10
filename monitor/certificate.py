"""Confidence thresholds above which a student provably disagrees with its teacher rarely enough.

Thresholds are tested from strict to lenient with exact binomial tails of whole counts (Angelopoulos et al. 2021,
"Learn then Test", with the fallback procedure of Wiens 2003): valid however error depends on confidence. Two
searches, on a fixed grid of confidences and on counts of accepted pairs, share the error probability.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ledger.artifacts import CertifiedSlice
from monitor.calibration import edges
from monitor.intervals import INTERVAL_ALPHA, at_most_p_value, lower_bound, upper_bound
from monitor.sums import COVERAGE_EDGES, SliceSums

STARTS = 4  # places of a search with a level of their own, so that one bad strict threshold does not end all
COUNTS = 100  # thresholds of the search on counts: each accepts one more hundredth of the pairs

Method = Literal["grid", "counts"]


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Pairs of one slice that no training saw: their sums and, where they are at hand, the answers themselves."""

    sums: SliceSums
    answers: tuple[tuple[float, bool], ...] = ()  # (confidence, disagrees) of every pair, or nothing

    def merge(self, other: "HeldOut") -> "HeldOut":
        return HeldOut(self.sums.merge(other.sums), self.answers + other.answers)


@dataclass(frozen=True, slots=True)
class Threshold:
    """A confidence from which answers are accepted, with the held-out pairs that it accepts."""

    confidence: float
    accepted: int
    disagreements: int
    method: Method


def certified_lines(
    held_out: Mapping[str, HeldOut], pools: Mapping[str, str], max_disagreement: float, delta: float
) -> dict[str, CertifiedSlice]:
    """The lines of a certificate: all of them hold together with probability at least 1 - delta.

    Slices with so few pairs that they cannot prove anything are merged into the pool that `pools` names for
    them, if it names one. `delta` is divided equally over the slices and pools that are large enough to pass;
    which ones are is known from their numbers of pairs alone, so the choice costs nothing. What proves no
    threshold has no line.
    """
    least = least_accepted(max_disagreement, delta)
    members = _pools(held_out, pools, least)
    merged = {pool: _merged([held_out[name] for name in names]) for pool, names in members.items()}
    eligible = {
        name: found for name, found in sorted({**held_out, **merged}.items()) if found.sums.pairs >= least
    }
    lines = {}
    for name, found in eligible.items():
        level = delta / len(eligible)
        threshold = lowest_threshold(found, max_disagreement, level)
        if threshold is not None:
            lines[name] = _line(threshold, found.sums.pairs, level, members.get(name, ()))
    return lines


def lowest_threshold(held_out: HeldOut, max_disagreement: float, delta: float) -> Threshold | None:
    """The threshold that accepts most of one slice; None where none passes, never the strictest instead.

    Each search gets half of delta; where the answers are not at hand, the grid gets all of it.
    """
    candidates = {"grid": thresholds_of_grid(held_out.sums)}
    if held_out.answers:
        candidates["counts"] = thresholds_of_counts(held_out.answers)
    found = [
        lowest_passing(list(thresholds), max_disagreement, delta / len(candidates))
        for thresholds in candidates.values()
    ]
    return max(filter(None, found), key=lambda threshold: threshold.accepted, default=None)


def lowest_passing(
    thresholds: Sequence[Threshold], max_disagreement: float, delta: float, starts: int = STARTS
) -> Threshold | None:
    """The last that passes of a sequence from strict to lenient, chosen without looking at disagreements."""
    least = least_accepted(max_disagreement, delta / starts)
    tried = [threshold for threshold in thresholds if threshold.accepted >= least]
    begin = {len(tried) * start // starts for start in range(starts)}
    levels = [delta / len(begin) if index in begin else 0.0 for index in range(len(tried))]
    counts = [(threshold.accepted, threshold.disagreements) for threshold in tried]
    passed = passing(counts, max_disagreement, levels)
    return next((tried[index] for index in reversed(range(len(tried))) if passed[index]), None)


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


def saved_share(coverage: float, student_cost: float, audit_share: float) -> float:
    """Of the teacher's cost, when the student answers first and the teacher what it does not cover and the audits.

    `student_cost` is that of one of its answers, in answers of the teacher.
    """
    return coverage - student_cost - audit_share * coverage


def _line(threshold: Threshold, pairs: int, level: float, pool: Sequence[str]) -> CertifiedSlice:
    return CertifiedSlice(
        confidence=threshold.confidence,
        accepted=threshold.accepted,
        disagreements=threshold.disagreements,
        pairs=pairs,
        delta=level,
        method=threshold.method,
        coverage_low=lower_bound(threshold.accepted, pairs, INTERVAL_ALPHA / 2),
        coverage_high=upper_bound(threshold.accepted, pairs, INTERVAL_ALPHA / 2),
        pool=tuple(pool),
    )


def _pools(
    held_out: Mapping[str, HeldOut], pools: Mapping[str, str], least: int
) -> dict[str, tuple[str, ...]]:
    """The members of each pool; empty slices tell nothing and are no members."""
    members: dict[str, tuple[str, ...]] = {}
    for name in sorted(held_out):
        if name in pools and 0 < held_out[name].sums.pairs < least:
            members[pools[name]] = (*members.get(pools[name], ()), name)
    return members


def _merged(parts: Sequence[HeldOut]) -> HeldOut:
    whole = parts[0]
    for part in parts[1:]:
        whole = whole.merge(part)
    return whole


def thresholds_of_grid(sums: SliceSums) -> Iterator[Threshold]:
    """The fixed edges, from strict to lenient; without those that accept nobody more than the one before."""
    previous = 0
    for confidence, (accepted, disagreements) in reversed(
        list(zip(edges(COVERAGE_EDGES), sums.accepted, strict=True))
    ):
        if accepted > previous:
            yield Threshold(confidence, accepted, disagreements, "grid")
        previous = accepted


def thresholds_of_counts(answers: Sequence[tuple[float, bool]]) -> Iterator[Threshold]:
    """Thresholds that accept the surest 1, 2, ... 100 hundredths of the answers, ties with them.

    A threshold lies halfway to the next lower confidence, so that rounding cannot move an answer across it.
    """
    confidence, disagrees = (np.array(column) for column in zip(*answers, strict=True))
    order = np.argsort(-confidence, kind="stable")
    falling, disagreements = confidence[order], np.cumsum(disagrees[order])
    wanted = [math.ceil(len(falling) * part / COUNTS) for part in range(1, COUNTS + 1)]
    ends = np.searchsorted(-falling, -falling[np.array(wanted) - 1], side="right")
    for accepted in sorted(set(ends.tolist())):
        last = falling[accepted - 1]
        below = falling[accepted] if accepted < len(falling) else last
        yield Threshold(float((last + below) / 2), accepted, int(disagreements[accepted - 1]), "counts")
