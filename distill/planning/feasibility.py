"""Can this task be distilled at all, from what is in the record: the verdict of a plan, and why.

Pure: from the teacher's agreement with itself, the rows of each slice and what a cheap student reached.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from distill.planning.rows_needed import fidelity_needed, rows_needed
from ledger.slices import OVERALL
from monitor.intervals import upper_bound

BOUND_ALPHA = 0.05  # of the bounds that stop a job or call it doubtful: a low estimate alone does not


class Feasibility(StrEnum):
    """What a plan says of a slice or of the whole job."""

    GO = "go"
    DOUBTFUL = "doubtful"  # the cheap student is not near enough; a better one may be
    NOT_PROVABLE = "not_provable"  # too few rows; the slice stays with the teacher
    CANNOT_PASS = "cannot_pass"


@dataclass(frozen=True, slots=True)
class Agreements:
    """Counts of one share, such as pairs of equal inputs that the teacher answered alike."""

    agreements: int
    pairs: int

    @property
    def share(self) -> float | None:
        return self.agreements / self.pairs if self.pairs else None


@dataclass(frozen=True, slots=True)
class SliceNeed:
    """What a gate has to prove of a slice, and with what."""

    slice: str
    bar: float
    critical: bool
    gate_rows: int
    reached: Agreements  # by the cheap student, on development rows of the slice


@dataclass(frozen=True, slots=True)
class SlicePlan:
    """Whether the slice can be proved. The fidelity that its rows ask for is None where no student suffices."""

    need: SliceNeed
    feasibility: Feasibility
    fidelity_needed: float | None
    rows_needed: int | None  # for what the cheap student reached; None where it is not above the bar
    reason: str


@dataclass(frozen=True, slots=True)
class Plan:
    feasibility: Feasibility
    reasons: tuple[str, ...]
    ceiling: Agreements  # the teacher with itself
    slices: tuple[SlicePlan, ...]


def plan_of(needs: Sequence[SliceNeed], ceiling: Agreements, alpha: float) -> Plan:
    """The whole verdict: it stops what nothing that is known lets pass, and names what is doubtful."""
    slices = tuple(_slice_plan(need, ceiling, alpha) for need in needs)
    stops = tuple(plan.reason for plan in slices if _stops(plan))
    return Plan(Feasibility.CANNOT_PASS if stops else Feasibility.GO, stops, ceiling, slices)


def _stops(plan: SlicePlan) -> bool:
    """A critical slice that cannot pass, or an overall slice that proves nothing: the gate would be inconclusive."""
    if plan.need.slice == OVERALL and plan.feasibility is Feasibility.NOT_PROVABLE:
        return True
    return plan.need.critical and plan.feasibility is Feasibility.CANNOT_PASS


def _slice_plan(need: SliceNeed, ceiling: Agreements, alpha: float) -> SlicePlan:
    asked = fidelity_needed(need.gate_rows, need.bar, alpha)
    reached = need.reached.share
    wanted = rows_needed(need.bar, reached, alpha) if reached is not None else None
    feasibility, reason = _judged(need, ceiling, asked, alpha)
    return SlicePlan(need, feasibility, asked, wanted, reason)


def _judged(
    need: SliceNeed, ceiling: Agreements, asked: float | None, alpha: float
) -> tuple[Feasibility, str]:
    if ceiling.pairs and upper_bound(ceiling.agreements, ceiling.pairs, BOUND_ALPHA) < need.bar:
        return Feasibility.CANNOT_PASS, (
            f"{need.slice}: cannot pass, because the teacher agrees with itself in {ceiling.agreements} of"
            f" {ceiling.pairs} repeated inputs, which is below the bar of {need.bar:.0%}: no student can be closer to"
            " it than it is. Lower the bar, or let the teacher answer equal inputs alike"
        )
    if asked is None:
        return Feasibility.NOT_PROVABLE, (
            f"{need.slice}: not provable, because {need.gate_rows} gate rows prove a bar of {need.bar:.0%} not even"
            f" without one disagreement; {rows_needed(need.bar, 1.0, alpha)} would. It stays with the teacher"
        )
    enough = f"{need.gate_rows} gate rows prove {need.bar:.0%} for a student that agrees in {asked:.1%}"
    most = upper_bound(need.reached.agreements, need.reached.pairs, BOUND_ALPHA)
    if need.reached.pairs and most < asked:
        return Feasibility.DOUBTFUL, (
            f"{need.slice}: doubtful, because {enough}, and the cheap student agrees in {need.reached.agreements} of"
            f" {need.reached.pairs} (at most {most:.1%}): a better one has to end"
            f" {1 - (1 - asked) / (1 - most):.0%} of its disagreements"
        )
    return Feasibility.GO, f"{need.slice}: {enough}"
