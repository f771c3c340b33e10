"""What a candidate is judged by beside the fidelity of its slices, and how one row of the report comes about.

All criteria have to hold for a pass, so each is judged at the full alpha (an intersection-union test, Berger 1982).
A criterion without a bar is told as not judged, which is never a pass.
"""

from enum import StrEnum

from ledger.artifacts import CriterionVerdict
from monitor.verdict import Bar, Known, is_met, judge

NOT_JUDGED = "not_judged"


class Criterion(StrEnum):
    """The sections of the report."""

    FLIPS = "negative_flips"  # rows where the incumbent agreed with the teacher and the candidate does not
    CALIBRATION = "calibration"
    ACCURACY = "accuracy"  # on verified labels
    LATENCY = "latency"
    FAIRNESS = "fairness"
    TEACHER = "teacher"  # the same suites on the teacher: what the student inherits
    ROBUSTNESS = "robustness"
    BEHAVIOUR = "behaviour"
    QUANTIZATION = "quantization"  # against the artifact that was quantized
    PLAY = "play"


def not_judged(criterion: Criterion, name: str, reason: str, known: Known | None = None) -> CriterionVerdict:
    """A row that says why nothing is judged, with the number where there is one."""
    return CriterionVerdict(
        criterion=criterion,
        name=name,
        outcome=NOT_JUDGED,
        decides=False,
        count=known.count if known else 0,
        value=known.value if known else None,
        low=known.low if known else None,
        high=known.high if known else None,
        bar=None,
        reason=f"not judged: {reason}" + (f"; {known.counts}" if known else ""),
    )


def judged(
    criterion: Criterion,
    name: str,
    known: Known,
    bar: Bar,
    least: int,
    decides: bool = True,
    least_to_miss: int | None = None,
) -> CriterionVerdict:
    """A number that will not become better known: looked at once, on rows that are fixed.

    pass: the bound that speaks against it meets the bar, on at least `least` counts. fail: the other one misses it,
    on any; or nothing is proven although there were `least_to_miss` counts (`least` where that is None). With fewer
    it is not provable here.
    """
    enough = least if least_to_miss is None else least_to_miss
    verdict = judge(known, bar, least)
    outcome, reason = verdict.outcome, "; ".join(verdict.reasons)
    if outcome == "inconclusive" and known.count >= max(enough, least):
        bound = known.low if bar.is_least else known.high
        outcome = "fail"
        reason = (
            f"{known.counts}, {known.told(known.value)}: {'lower' if bar.is_least else 'upper'} bound"
            f" {known.told(bound)} misses the bar {known.told(bar.at)}"
        )
    elif outcome == "inconclusive":
        met = "would meet" if is_met(bar, known) else "does not prove"
        told = f"{known.counts}, which {met} the bar {known.told(bar.at)}"
        reason = f"not provable: {told}; it takes {max(enough, least)} or more"
    return CriterionVerdict(
        criterion=criterion,
        name=name,
        outcome=outcome,
        decides=decides,
        count=known.count,
        value=known.value,
        low=known.low,
        high=known.high,
        bar=bar.at,
        reason=reason,
    )
