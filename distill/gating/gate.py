"""The gate: a candidate's exact bounds on the locked rows, slice by slice, and where it may serve.

"Promote only if every critical slice passes" is an intersection-union test: each slice is judged at the full
alpha (Berger 1982). Several candidates looking at the same rows share alpha equally.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from distill.curation.split import GateRow
from distill.gating.lock import Lock
from ledger.artifacts import Certificate, GateReport, SliceVerdict
from ledger.clock import now_us
from ledger.configuration import TaskSection
from ledger.observation import Observation
from ledger.slices import OVERALL, decides_who_serves, rule_of
from monitor.certificate import HeldOut, certified_lines
from monitor.pairs import Pair
from monitor.sums import SliceSums, merged
from monitor.verdict import Outcome, slice_verdict

LEAST_OF_A_SLICE = 30  # fewer rows may all be of one kind: they stand for no slice, however well they agree


class Answers(Protocol):
    """Whatever answers texts as the student process would."""

    def answer(self, texts: Sequence[str]) -> Sequence[Observation]: ...


@dataclass(frozen=True, slots=True)
class Judged:
    report: GateReport
    certificate: Certificate
    sums: Mapping[str, SliceSums]


def judge(
    student: Answers, gate_rows: Sequence[GateRow], task: TaskSection, lock: Lock, looks: int
) -> Judged:
    """One look at one candidate through the code that would serve it."""
    pairs = _pairs_on_gate(student, gate_rows)
    held_out = _held_out(gate_rows, pairs, task)
    sums = {name: found.sums for name, found in held_out.items()}
    verdicts = tuple(_verdict(name, sums[name], task, looks) for name in sorted(sums))
    report = _report(verdicts, lock, task.gate.alpha / looks)
    certificate = _certificate(held_out, verdicts, task, looks)
    return Judged(report, _with_served_share(certificate, gate_rows, pairs, task), sums)


def _pairs_on_gate(student: Answers, gate_rows: Sequence[GateRow]) -> list[Pair]:
    """In the order of the rows; a failed answer counts as a disagreement."""
    observations = student.answer([entry.row.text for entry in gate_rows])
    return [
        _pair(entry, _answered(observation, entry.row.teacher))
        for entry, observation in zip(gate_rows, observations, strict=True)
    ]


def _held_out(gate_rows: Sequence[GateRow], pairs: Sequence[Pair], task: TaskSection) -> dict[str, HeldOut]:
    """Merged sums and the answers themselves, per slice."""
    members: dict[str, list[Pair]] = {}
    for entry, pair in zip(gate_rows, pairs, strict=True):
        for name in entry.slices(task.rules):
            members.setdefault(name, []).append(pair)
    return {
        name: HeldOut(
            merged(SliceSums.of_pair(pair) for pair in of_slice),
            tuple((pair.student.confidence, not pair.agrees) for pair in of_slice),
        )
        for name, of_slice in members.items()
    }


def _answered(observation: Observation, teacher: Observation) -> Observation:
    """In front of a caller a failed answer falls back; on the gate it must not pass for agreement."""
    if observation.probabilities is not None:
        return observation
    assert teacher.probabilities is not None
    wrong = (teacher.top + 1) % len(teacher.probabilities)
    return Observation(tuple(float(index == wrong) for index in range(len(teacher.probabilities))))


def _pair(entry: GateRow, student: Observation) -> Pair:
    row = entry.row
    return Pair(
        exchange_id=row.exchange_id,
        input_index=row.input_index,
        artifact="",
        at_us=row.at_us,
        slices=row.slices,
        teacher=row.teacher,
        student=student,
        input_digest=row.digest,
        words=row.words,
    )


def _verdict(name: str, sums: SliceSums, task: TaskSection, looks: int) -> SliceVerdict:
    rule = rule_of(task.rules, name)
    # the overall draw is by share, so it may fall short of what was asked for; half of it still judges
    least_overall = task.gate.rows // 2
    return slice_verdict(
        name,
        sums.pairs,
        sums.agreements,
        bar=task.gate.bar if name == OVERALL else rule.bar if rule else None,
        alpha=task.gate.alpha / looks,
        least_pairs=least_overall if name == OVERALL else task.gate.slice_rows,
        critical=name == OVERALL or bool(rule and rule.critical),
        least_to_pass=least_overall if name == OVERALL else LEAST_OF_A_SLICE,
    )


def _report(verdicts: Sequence[SliceVerdict], lock: Lock, alpha: float) -> GateReport:
    overall = next((verdict for verdict in verdicts if verdict.slice == OVERALL), None)
    failed = [verdict for verdict in verdicts if verdict.critical and verdict.outcome == "fail"]
    if overall is None or overall.outcome == "inconclusive":
        outcome: Outcome = "inconclusive"
        reasons = [overall.reason if overall else "the gate has no rows"]
    else:
        outcome = "fail" if failed else "pass"
        reasons = [f"{verdict.slice}: {verdict.reason}" for verdict in failed]
    return GateReport(
        outcome=outcome,
        reasons=tuple(reasons),
        lock_digest=lock.digest,
        alpha=alpha,
        verdicts=tuple(verdicts),
    )


def _certificate(
    held_out: Mapping[str, HeldOut], verdicts: Sequence[SliceVerdict], task: TaskSection, looks: int
) -> Certificate:
    """Lines for slices known from the request alone that met their bar, or have none.

    Several candidates looking at the same rows share delta, so it also is the probability that the one that is
    published is wrong. It is divided before the verdicts are looked at: they come from the same disagreements.
    """
    deciding = {name: found for name, found in held_out.items() if decides_who_serves(task.rules, name)}
    level = task.fallback.delta / looks
    lines = certified_lines(deciding, _pools(deciding, task), task.fallback.max_disagreement, level)
    missed = {verdict.slice for verdict in verdicts if verdict.bar is not None and verdict.outcome != "pass"}
    return Certificate(
        max_disagreement=task.fallback.max_disagreement,
        delta=task.fallback.delta,
        teacher_epoch=task.teacher.version,
        issued_at_us=now_us(),
        slices={name: line for name, line in lines.items() if name not in missed},
        pairs={name: found.sums.pairs for name, found in deciding.items()},
    )


def _with_served_share(
    certificate: Certificate, gate_rows: Sequence[GateRow], pairs: Sequence[Pair], task: TaskSection
) -> Certificate:
    """How many of the rows that were drawn whatever their slice the student would have served."""
    thresholds = certificate.thresholds
    drawn = [
        (pair.student.confidence, [name for name in entry.row.slices if decides_who_serves(task.rules, name)])
        for entry, pair in zip(gate_rows, pairs, strict=True)
        if entry.drawn_for is None
    ]
    served = sum(
        all(confidence >= thresholds.get(name, math.inf) for name in names) for confidence, names in drawn
    )
    return certificate.model_copy(update={"served": served, "drawn": len(drawn)})


def _pools(held_out: Mapping[str, HeldOut], task: TaskSection) -> dict[str, str]:
    """By slice, the pool of its rule. A slice that has to meet a bar must prove itself alone."""
    rules = {name: rule_of(task.rules, name) for name in held_out}
    return {name: f"{rule.name}:small" for name, rule in rules.items() if rule and rule.bar is None}
