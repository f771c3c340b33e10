"""The gate: a candidate's exact bounds on the locked rows, slice by slice, and where it may serve.

"Promote only if every critical slice passes" is an intersection-union test: each slice is judged at the full
alpha (Berger 1982). Several candidates looking at the same rows share alpha equally.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from distill.lock import Lock
from distill.split import GateRow
from ledger.artifacts import Certificate, GateReport, SliceVerdict
from ledger.configuration import TaskSection
from ledger.observation import Observation
from ledger.slices import OVERALL, rule_of
from monitor.certificate import certify
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
    sums = sums_on_gate(student, gate_rows, task)
    verdicts = tuple(_verdict(name, sums[name], task, looks) for name in sorted(sums))
    report = _report(verdicts, lock, task.gate.alpha / looks)
    return Judged(report, _certificate(sums, verdicts, task), sums)


def sums_on_gate(student: Answers, gate_rows: Sequence[GateRow], task: TaskSection) -> dict[str, SliceSums]:
    """Merged sums per slice over the gate rows; a failed answer counts as a disagreement."""
    observations = student.answer([entry.row.text for entry in gate_rows])
    parts: dict[str, list[SliceSums]] = {}
    for entry, observation in zip(gate_rows, observations, strict=True):
        of_row = SliceSums.of_pair(_pair(entry, _answered(observation, entry.row.teacher)))
        for name in entry.slices(task.rules):
            parts.setdefault(name, []).append(of_row)
    return {name: merged(group) for name, group in parts.items()}


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
    sums: Mapping[str, SliceSums], verdicts: Sequence[SliceVerdict], task: TaskSection
) -> Certificate:
    """Certify slices known from the request alone that met their bar, or have none."""
    admitted = {
        verdict.slice: sums[verdict.slice]
        for verdict in verdicts
        if (verdict.outcome == "pass" or verdict.bar is None) and _decides(verdict.slice, task)
    }
    return certify(admitted, task.fallback.max_disagreement, task.fallback.delta, task.teacher.version)


def _decides(name: str, task: TaskSection) -> bool:
    rule = rule_of(task.rules, name)
    return name == OVERALL or bool(rule and rule.decides_who_serves)
