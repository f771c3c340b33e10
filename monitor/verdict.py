"""Holds what is known of a number against its bar: pass, fail or inconclusive, with the reason.

The gate and the live verdict judge by this one rule and differ in their bounds alone: exact ones for rows that are
looked at once, and a confidence sequence for pairs that keep coming. No evidence never passes.
"""

import math
from dataclasses import dataclass
from typing import Literal

from ledger.artifacts import SliceVerdict
from monitor.intervals import lower_bound, upper_bound

Outcome = Literal["pass", "fail", "inconclusive"]
Unit = Literal["", " s"]
NO_BAR = "no bar is declared"


@dataclass(frozen=True, slots=True)
class Verdict:
    outcome: Outcome
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Known:
    """A number with its bounds, and what it rests on; a bound that is None is not known."""

    counts: str  # in words: 873 of 957 pairs agree
    count: int
    value: float | None
    low: float | None
    high: float | None
    unit: Unit = ""

    def told(self, number: float | None) -> str:
        if number is None:
            return "unknown"
        return f"{number:.4g}{self.unit}" if self.unit else f"{number:.3f}"


@dataclass(frozen=True, slots=True)
class Bar:
    """What a number has to reach, or may not exceed."""

    at: float
    is_least: bool = True


def judge(known: Known, bar: Bar, least_to_pass: int) -> Verdict:
    """pass: both bounds lie on the good side, on enough counts. fail: both lie on the bad side, on any."""
    bounds = (
        f"{known.counts}, {known.told(known.value)} ({known.told(known.low)} to {known.told(known.high)})"
    )
    told = f"the bar {known.told(bar.at)}"
    if is_met(Bar(bar.at, not bar.is_least), known, strictly=True):
        return Verdict("fail", (f"{bounds} {'is below' if bar.is_least else 'exceeds'} {told}",))
    if not is_met(bar, known):
        way_out = f"it takes {least_to_pass} or more" if known.count < least_to_pass else "wait for more"
        return Verdict("inconclusive", (f"{bounds} neither meets nor misses {told} yet; {way_out}",))
    if known.count < least_to_pass:
        return Verdict("inconclusive", (f"{bounds} meets {told}, but a pass needs {least_to_pass}",))
    return Verdict("pass", (f"{bounds} {'reaches' if bar.is_least else 'stays within'} {told}",))


def is_met(bar: Bar, known: Known, strictly: bool = False) -> bool:
    """Whether the bound that speaks against it lies on the good side; one that is not known does not."""
    worst = known.low if bar.is_least else known.high
    if worst is None or math.isnan(worst):
        return False
    if worst == bar.at:
        return not strictly
    return worst > bar.at if bar.is_least else worst < bar.at


def judge_slice(
    pairs: int, agreements: int, bar: float | None, alpha: float, least_pairs: int, least_to_pass: int = 1
) -> Verdict:
    """Judge a fixed set of held-out pairs by exact bounds; more of them will not come, and nobody looks twice.

    So what is neither met nor refuted is missed, and fails. Inconclusive is what is not provable: there is no bar,
    full agreement over so many pairs would not reach it, or it is missed with less than `least_pairs`.
    """
    flaw = flaw_of(pairs, agreements, bar, alpha)
    if flaw is not None or bar is None:
        return Verdict("inconclusive", (flaw or NO_BAR,))
    known = agreement_of(
        pairs, agreements, lower_bound(agreements, pairs, alpha), upper_bound(agreements, pairs, alpha)
    )
    verdict = judge(known, Bar(bar), least_to_pass)
    if verdict.outcome != "inconclusive" or is_met(Bar(bar), known):
        return verdict
    needed = max(least_to_pass, math.ceil(math.log(alpha) / math.log(bar)))
    if pairs < needed:
        return Verdict(
            "inconclusive", (f"not provable: {known.counts}, the bar {bar:.3f} needs {needed} pairs",)
        )
    missed = f"{known.counts}: lower bound {known.low:.3f} misses the bar {bar:.3f}"
    if pairs < least_pairs:
        return Verdict("inconclusive", (f"not provable: {missed}, with few pairs",))
    return Verdict("fail", (missed,))


def flaw_of(pairs: int, agreements: int, bar: float | None, alpha: float) -> str | None:
    """Why counts cannot be judged at all."""
    if bar is None:
        return NO_BAR
    if not 0 <= agreements <= pairs:
        return f"the counts contradict each other: {agreements} agreements of {pairs} pairs"
    if not (0 < bar < 1 and 0 < alpha < 1):
        return f"bar = {bar} and alpha = {alpha} must both lie between 0 and 1"
    return None


def agreement_of(pairs: int, agreements: int, low: float | None, high: float | None) -> Known:
    value = agreements / pairs if pairs else None
    return Known(f"{agreements} of {pairs} pairs agree", pairs, value, low, high)


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
