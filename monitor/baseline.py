"""The null of a slice: up to which mean loss a student counts as no worse than when it was accepted."""

from collections.abc import Sequence
from dataclasses import dataclass

from ledger.artifacts import GateReport, SliceVerdict
from ledger.configuration import GateSection, TriggerSection
from ledger.slices import OVERALL, SliceRule, rule_of
from monitor.intervals import upper_bound

CEILING = 0.99  # a null of 1 could never be contradicted
REFERENCE_DELTA = 0.05  # probability that any reference bound of a student is too low, over its slices


@dataclass(frozen=True, slots=True)
class Null:
    """The mean loss that a detector holds against, and where it comes from."""

    m0: float
    source: str  # gate, bar, parent, labels
    reason: str
    rate: float | None = None  # the mean loss that was measured, where the null comes from counts


def null_of(
    slice_name: str,
    report: GateReport | None,
    rules: Sequence[SliceRule],
    gate: GateSection,
    trigger: TriggerSection,
) -> Null:
    """The gate's counts of the slice where there are enough, else its declared bar, else the overall null."""
    reference = _reference(slice_name, report, trigger.reference_pairs)
    if reference is not None and report is not None:
        return _from_counts(reference, len(report.verdicts), trigger.tolerance)
    if slice_name == OVERALL:
        return Null(min(CEILING, 1 - gate.bar), "bar", f"the gate's bar {gate.bar} of the overall slice")
    rule = rule_of(rules, slice_name)
    declared = None if rule is None else rule.alarm_below if rule.alarm_below is not None else rule.bar
    if rule is not None and declared is not None:
        return Null(min(CEILING, 1 - declared), "bar", f"the slices {rule.name} alarm below {declared}")
    parent = null_of(OVERALL, report, rules, gate, trigger)
    return Null(parent.m0, "parent", f"the overall slice's null: {parent.reason}", parent.rate)


def _reference(slice_name: str, report: GateReport | None, least_pairs: int) -> SliceVerdict | None:
    verdicts = report.verdicts if report is not None else ()
    return next((v for v in verdicts if v.slice == slice_name and v.pairs >= least_pairs), None)


def _from_counts(reference: SliceVerdict, slices: int, tolerance: float) -> Null:
    """Exact upper bound, with the error probability shared out over the slices, plus the harm tolerated."""
    disagreements = reference.pairs - reference.agreements
    bound = upper_bound(disagreements, reference.pairs, REFERENCE_DELTA / slices)
    reason = (
        f"{disagreements} of {reference.pairs} pairs of the gate disagreed: upper bound {bound:.4f},"
        f" tolerance {tolerance}"
    )
    return Null(min(CEILING, bound + tolerance), "gate", reason, disagreements / reference.pairs)
