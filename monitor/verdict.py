"""Judges counts against bars: pass, fail or inconclusive, each with its reasons. No evidence never passes."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from ledger.artifacts import SliceVerdict
from ledger.configuration import GateSection
from ledger.slices import OVERALL, SliceRule, rule_of
from monitor.intervals import lower_bound, upper_bound
from monitor.sums import SliceSums

Outcome = Literal["pass", "fail", "inconclusive"]


@dataclass(frozen=True, slots=True)
class Verdict:
    outcome: Outcome
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LiveVerdict:
    """A verdict over all slices, with the line of each slice that was judged."""

    outcome: Outcome
    reasons: tuple[str, ...]
    slices: tuple[SliceVerdict, ...]


def judge_slice(
    pairs: int, agreements: int, bar: float | None, alpha: float, least_pairs: int, least_to_pass: int = 1
) -> Verdict:
    """Judge a fixed set of held-out pairs; more of them will not come, and nobody looks twice.

    pass: the lower bound reaches the bar. fail: the upper bound lies below the bar, or there are `least_pairs`
    and the lower bound misses it. inconclusive: not provable, since there is no bar, or so few pairs that
    missing it says nothing (an exact bound that is reached is a proof at any size; one that is not, is none).
    """
    verdict = judge_growing_slice(pairs, agreements, bar, alpha, least_to_pass)
    if verdict.outcome != "inconclusive" or not _is_provable(pairs, agreements, bar, alpha, 1):
        return verdict
    assert bar is not None
    low = lower_bound(agreements, pairs, alpha)
    said = f"{_counts(pairs, agreements)}: lower bound {low:.3f}"
    if low >= bar:
        return Verdict("inconclusive", (f"not provable: {said}, but a pass needs {least_to_pass} pairs",))
    if pairs < least_pairs:
        return Verdict("inconclusive", (f"not provable: {said} misses the bar {bar:.3f}, with few pairs",))
    return Verdict("fail", (f"{said} misses the bar {bar:.3f}",))


def judge_growing_slice(
    pairs: int, agreements: int, bar: float | None, alpha: float, least_pairs: int
) -> Verdict:
    """Judge pairs that keep coming: a bar that is neither proven nor refuted yet is inconclusive.

    Since it is looked at again and again, it takes `least_pairs` to pass; only an upper bound below the bar
    fails.
    """
    if bar is None or not 0 < bar < 1 or not 0 < alpha < 1 or not 0 <= agreements <= pairs:
        return Verdict("inconclusive", (_why_unjudgeable(pairs, agreements, bar, alpha),))
    counts = _counts(pairs, agreements)
    low, high = lower_bound(agreements, pairs, alpha), upper_bound(agreements, pairs, alpha)
    if high < bar:
        return Verdict("fail", (f"{counts}: upper bound {high:.3f} is below the bar {bar:.3f}",))
    if not _is_provable(pairs, agreements, bar, alpha, least_pairs):
        needed = max(least_pairs, math.ceil(math.log(alpha) / math.log(bar)))
        return Verdict("inconclusive", (f"not provable: {counts}, the bar {bar:.3f} needs {needed} pairs",))
    if low >= bar:
        return Verdict("pass", (f"{counts}: lower bound {low:.3f} reaches the bar {bar:.3f}",))
    return Verdict(
        "inconclusive", (f"{counts}: bounds {low:.3f} to {high:.3f} hold the bar {bar:.3f}; wait for more",)
    )


def slice_verdict(
    name: str,
    pairs: int,
    agreements: int,
    bar: float | None,
    alpha: float,
    least_pairs: int,
    critical: bool,
    least_to_pass: int = 1,
) -> SliceVerdict:
    """judge_slice as a line of a gate report."""
    verdict = judge_slice(pairs, agreements, bar, alpha, least_pairs, least_to_pass)
    return _line(name, pairs, agreements, bar, alpha, critical, verdict)


def judge_live(
    sums_by_slice: Mapping[str, SliceSums], rules: Sequence[SliceRule], gate: GateSection
) -> LiveVerdict:
    """May this student go up? The overall slice has to pass, and no critical slice may fail.

    The overall slice needs gate.rows pairs, a slice gate.slice_rows. A critical slice that is not proven
    yet stops nothing: its certificate decides what it may serve. Each look costs gate.alpha.
    """
    lines = [_live_line(OVERALL, sums_by_slice.get(OVERALL, SliceSums()), gate.bar, gate.rows, True, gate)]
    for name, sums in sorted(sums_by_slice.items()):
        rule = rule_of(rules, name)
        if rule is not None and rule.critical:
            lines.append(_live_line(name, sums, rule.bar, gate.slice_rows, True, gate))
    return LiveVerdict(_outcome(lines), tuple(_reasons(lines)), tuple(lines))


def _outcome(lines: Sequence[SliceVerdict]) -> Outcome:
    """The overall line comes first."""
    if any(line.outcome == "fail" for line in lines):
        return "fail"
    return lines[0].outcome


def _reasons(lines: Sequence[SliceVerdict]) -> Iterable[str]:
    """What stands in the way, or the proof where nothing does."""
    failed = [f"{line.slice}: {line.reason}" for line in lines if line.outcome == "fail"]
    return failed or [f"{lines[0].slice}: {lines[0].reason}"]


def _live_line(
    name: str, sums: SliceSums, bar: float | None, least_pairs: int, critical: bool, gate: GateSection
) -> SliceVerdict:
    verdict = judge_growing_slice(sums.pairs, sums.agreements, bar, gate.alpha, least_pairs)
    return _line(name, sums.pairs, sums.agreements, bar, gate.alpha, critical, verdict)


def _line(
    name: str, pairs: int, agreements: int, bar: float | None, alpha: float, critical: bool, verdict: Verdict
) -> SliceVerdict:
    return SliceVerdict(
        slice=name,
        outcome=verdict.outcome,
        pairs=pairs,
        agreements=agreements,
        lower_bound=lower_bound(agreements, pairs, alpha),
        bar=bar,
        critical=critical,
        reason="; ".join(verdict.reasons),
    )


def _is_provable(pairs: int, agreements: int, bar: float | None, alpha: float, least_pairs: int) -> bool:
    """Whether full agreement over so many pairs would reach the bar."""
    valid = bar is not None and 0 < bar < 1 and 0 < alpha < 1 and 0 <= agreements <= pairs
    return valid and bar is not None and pairs >= max(least_pairs, 1) and bar**pairs <= alpha


def _why_unjudgeable(pairs: int, agreements: int, bar: float | None, alpha: float) -> str:
    if bar is None:
        return "no bar is declared"
    if not 0 <= agreements <= pairs:
        return f"the counts contradict each other: {agreements} agreements of {pairs} pairs"
    return f"bar = {bar} and alpha = {alpha} must both lie between 0 and 1"


def _counts(pairs: int, agreements: int) -> str:
    return f"{agreements} of {pairs} pairs agree"
