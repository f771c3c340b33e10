"""Whether the input of a slice moved with an alarm's change, and which of its features did.

A student is a fixed function of its inputs: while artifact and runtime stay, its answers cannot move unless the
input does, whatever moved in it. The teacher is no such thing, so its answers tell nothing of the input.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from monitor.features import Feature, Moved, compared
from monitor.findings import Facts, Finding, Outcome, Source

LEAST_INPUTS = 20  # distinct ones, on either side: with fewer only the grossest change could be told
OF_THE_TEACHER = (Feature.TEACHER_CLASSES, Feature.TEACHER_CONFIDENCE)
OF_THE_STUDENT = (
    Feature.STUDENT_CLASSES,
    Feature.STUDENT_CONFIDENCE,
    Feature.EMBEDDING_REGION,
    Feature.EMBEDDING_DISTANCE,
)


@dataclass(frozen=True, slots=True)
class Features:
    """Since the change against before it, and against the rows of the gate; None where one side is too small."""

    before: list[Moved] | None
    gate: list[Moved] | None


def features_of(facts: Facts) -> Features:
    before, after, reference = facts.before, facts.after, facts.reference
    if after.sums.pairs < LEAST_INPUTS:
        return Features(None, None)
    return Features(
        compared(before.sums, after.sums, facts.classes, before.mixes, after.mixes)
        if before.sums.pairs >= LEAST_INPUTS
        else None,
        compared(reference, after.sums, facts.classes, {}, {}) if reference is not None else None,
    )


def input_finding(facts: Facts, features: Features, student_moved: bool) -> Finding:
    inputs = facts.after.sums.pairs
    if features.before is None and features.gate is None:
        few = f"{inputs} distinct inputs of the slice since the change, {facts.before.sums.pairs} before it"
        why = (
            "the gate saw too few rows of the slice"
            if inputs >= LEAST_INPUTS
            else f"{LEAST_INPUTS} are the least"
        )
        return Finding(Source.INPUT, Outcome.UNKNOWN, f"the input cannot be compared: {few}; {why}")
    evidence = {"before": _plain(features.before), "gate": _plain(features.gate), "inputs": inputs}
    telling = Features(*(_of_the_input(some, student_moved) for some in (features.before, features.gate)))
    with_change = [one for one in telling.before or () if one.moved]
    since_gate = [one for one in telling.gate or () if one.moved]
    if with_change:
        return Finding(Source.INPUT, Outcome.MOVED, f"the input moved: {told(with_change)}", evidence)
    if since_gate and telling.before is None:
        sentence = f"the input is not that of the student's gate: {told(since_gate)}"
        return Finding(Source.INPUT, Outcome.MOVED, sentence, evidence)
    if since_gate:
        sentence = (
            f"the input moved since the student's gate, slowly or before the change: {told(since_gate)}"
        )
        return Finding(Source.INPUT, Outcome.MOVED_EARLIER, sentence, evidence)
    return Finding(Source.INPUT, Outcome.STILL, _still(telling, inputs), evidence)


def _of_the_input(some: list[Moved] | None, student_moved: bool) -> list[Moved] | None:
    """Those that only the input can move."""
    hidden = (*OF_THE_TEACHER, *(OF_THE_STUDENT if student_moved else ()))
    return None if some is None else [one for one in some if one.feature not in hidden]


def told(moved: Sequence[Moved]) -> str:
    return ", ".join(map(_sentence, moved))


def _sentence(one: Moved) -> str:
    movement = one.movement
    least = (
        f"at least {100 * movement.least:.0f} points" if movement.least >= 0.005 else "how far is uncertain"
    )
    return (
        f"{one.feature.replace('_', ' ')}, {one.place} {100 * movement.share_then:.0f} % ->"
        f" {100 * movement.share_now:.0f} % of {movement.now} inputs ({least})"
    )


def _still(telling: Features, inputs: int) -> str:
    looked = telling.before if telling.before is not None else telling.gate or []
    most = max((one.movement.most for one in looked), default=1.0)
    names = ", ".join(one.feature.replace("_", " ") for one in looked)
    return (
        f"nothing of the input moved ({names}); by {inputs} inputs, no share can have moved by more than"
        f" {100 * min(1.0, most):.0f} points"
    )


def _plain(some: list[Moved] | None) -> list[dict[str, Any]] | None:
    return None if some is None else [asdict(one) for one in some]
