"""Whether protected groups are treated worse than the rest: gaps in fidelity, accuracy and calibration.

A group is a slice of a protected rule, and the rest are the other rows that the rule says anything of. A group whose
gap is not provable here stays with the teacher; one whose gap is too wide fails the candidate. The same gaps of the
teacher are told beside: those failures are inherited.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from distill.gating.bounds import adaptive_error, adaptive_errors_drawn, newcombe
from distill.gating.calibration import confidence_and_hits
from distill.gating.criterion import Criterion, judged, not_judged
from distill.gating.look import Look
from ledger.artifacts import CriterionVerdict
from ledger.slices import decides_who_serves
from monitor.verdict import Bar, Known

LEAST_GROUP = 30  # rows; fewer may all be of one kind
UNDECLARED = (
    "[task.fairness] is missing. Name the slice rules of protected groups there (protected = [...]); or, if there are"
    " none, let a person say so: none_because, declared_by, declared_on."
)


@dataclass(frozen=True, slots=True)
class Group:
    """A slice of a protected rule, and the other rows of the rule."""

    name: str
    places: tuple[int, ...]
    rest: tuple[int, ...]


def groups_of(look: Look) -> Iterator[Group]:
    fairness = look.task.fairness
    for rule in fairness.protected if fairness else ():
        slices = {name: places for name, places in look.members.items() if name.startswith(f"{rule}=")}
        for name, places in slices.items():
            rest = sorted({place for other in slices if other != name for place in slices[other]})
            yield Group(name, places, tuple(rest))


def fairness_rows(look: Look) -> Iterator[CriterionVerdict]:
    """Rows of every group, or what the task declares instead."""
    fairness = look.task.fairness
    if fairness is None:
        yield not_judged(Criterion.FAIRNESS, "protected groups", UNDECLARED)
        return
    if not fairness.protected:
        said = f"{fairness.declared_by} declared on {fairness.declared_on}: {fairness.none_because}"
        yield not_judged(Criterion.FAIRNESS, "protected groups", said)
        return
    groups = [group for group in groups_of(look) if group.rest]
    if not groups:
        said = f"fewer than two groups of {', '.join(fairness.protected)} are among the gate's rows"
        yield not_judged(Criterion.FAIRNESS, "protected groups", said)
    for group in groups:
        yield from _group_rows(look, group)


def _group_rows(look: Look, group: Group) -> Iterator[CriterionVerdict]:
    fairness = look.task.fairness
    assert fairness is not None
    agrees = [pair.agrees for pair in look.pairs]
    fidelity = gap_known(agrees.__getitem__, group.places, group.rest, look.alpha, "agree")
    yield _judged(look, Criterion.FAIRNESS, f"fidelity, {group.name}", fidelity, fairness.max_fidelity_gap)
    yield _judged(
        look,
        Criterion.FAIRNESS,
        f"calibration, {group.name}",
        calibration_gap(look, group),
        fairness.max_calibration_gap,
        "fairness.max_calibration_gap",
    )
    labelled, rest = (
        [p for p in places if look.labels[p] is not None] for places in (group.places, group.rest)
    )
    setting, bar = "fairness.max_accuracy_gap", fairness.max_accuracy_gap
    if not labelled or not rest:
        name = f"accuracy, {group.name}"
        yield not_judged(
            Criterion.FAIRNESS, name, "the gate has no verified labels of the group and of the rest"
        )
        return
    right = [look.answers[place].top == look.labels[place] for place in range(len(look.entries))]
    accuracy = gap_known(right.__getitem__, labelled, rest, look.alpha, "are right")
    yield _judged(look, Criterion.FAIRNESS, f"accuracy, {group.name}", accuracy, bar, setting)
    teacher = [look.pairs[place].teacher.top == look.labels[place] for place in range(len(look.entries))]
    inherited = gap_known(teacher.__getitem__, labelled, rest, look.alpha, "of the teacher's are right")
    yield _judged(look, Criterion.TEACHER, f"accuracy, {group.name}", inherited, bar, setting, decides=False)


def _judged(
    look: Look,
    criterion: Criterion,
    name: str,
    known: Known,
    bar: float | None,
    setting: str = "",
    decides: bool = True,
) -> CriterionVerdict:
    if bar is None:
        return not_judged(criterion, name, f"{setting} is not set", known)
    within = Bar(bar, is_least=False)
    verdict = judged(criterion, name, known, within, LEAST_GROUP, decides, look.task.gate.slice_rows)
    group = name.partition(", ")[2]
    if verdict.outcome == "inconclusive" and decides and decides_who_serves(look.task.rules, group):
        said = f"{verdict.reason}; the group stays with the teacher"
        return verdict.model_copy(update={"decides": False, "reason": said})
    return verdict


def gap_known(
    hit: Callable[[int], bool], places: Sequence[int], rest: Sequence[int], alpha: float, said: str
) -> Known:
    """How much lower the share of the group is than that of the rest: Newcombe's interval, one-sided at alpha."""
    group, others = sum(map(hit, places)), sum(map(hit, rest))
    low, high = newcombe(group, len(places), others, len(rest), 2 * alpha)
    return Known(
        f"{group} of {len(places)} {said}, {others} of {len(rest)} of the rest",
        min(len(places), len(rest)),
        others / len(rest) - group / len(places),
        low,
        high,
    )


def calibration_gap(look: Look, group: Group) -> Known:
    """How much larger the calibration error of the group is, with basic bootstrap bounds."""
    sides = [confidence_and_hits(look, places) for places in (group.places, group.rest)]
    found = adaptive_error(*sides[0]) - adaptive_error(*sides[1])
    draw = np.random.default_rng(0)  # the same at every look
    group_errors, rest_errors = (adaptive_errors_drawn(*side, draw) for side in sides)
    gaps = group_errors - rest_errors
    low, high = (2 * found - float(np.quantile(gaps, level)) for level in (1 - look.alpha, look.alpha))
    count = min(len(group.places), len(group.rest))
    return Known(f"calibration errors of {len(group.places)} rows and of the rest", count, found, low, high)
