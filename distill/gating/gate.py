"""The gate: a candidate's exact bounds on the locked rows, slice by slice, and where it may serve.

"Promote only if every critical slice passes, and every criterion" is an intersection-union test: each is judged at
the full alpha (Berger 1982). Several candidates looking at the same rows share alpha equally; the artifacts of one
candidate are judged in a fixed order that stops at the first failure, which costs nothing (fixed-sequence testing).
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from distill.curation.split import GateRow
from distill.gating.answers import Answers
from distill.gating.behaviour import behaviour_rows
from distill.gating.calibration import calibration_rows
from distill.gating.criterion import Criterion
from distill.gating.fairness import fairness_rows
from distill.gating.latency import latency_rows
from distill.gating.lock import Lock
from distill.gating.look import ALONE, Beside, Look, look_at
from distill.gating.paired import accuracy_rows, flip_rows, loss_known, quantization_rows
from distill.gating.play import PlayFacts, check_play
from distill.gating.robustness import robustness_rows
from ledger.artifacts import Certificate, CertifiedSlice, CriterionVerdict, GateReport, SliceVerdict
from ledger.clock import now_us
from ledger.configuration import LatencyPlay, TaskSection
from ledger.slices import OVERALL, decides_who_serves, rule_of
from monitor.certificate import HeldOut, certified_lines
from monitor.sums import SliceSums, merged
from monitor.verdict import Known, Outcome, slice_verdict

LEAST_OF_A_SLICE = 30  # fewer rows may all be of one kind: they stand for no slice, however well they agree


@dataclass(frozen=True, slots=True)
class Judged:
    """What one look gave: the report, where the student may serve, and the rows that it agreed on."""

    report: GateReport
    certificate: Certificate
    sums: Mapping[str, SliceSums]
    agreed: Mapping[str, bool]  # digest of a row -> whether student and teacher agree


def judge(
    student: Answers,
    gate_rows: Sequence[GateRow],
    task: TaskSection,
    lock: Lock,
    looks: int,
    beside: Beside = ALONE,
    inputs_per_day: float | None = None,
) -> Judged:
    """One look at one artifact through the code that would serve it."""
    look = look_at(student, gate_rows, task, task.gate.alpha / looks, beside)
    held_out = {name: _held_out(look, places) for name, places in look.members.items()}
    sums = {name: found.sums for name, found in held_out.items()}
    verdicts = tuple(_verdict(name, sums[name], task, look.alpha) for name in sorted(sums))
    criteria = tuple(_criteria(look))
    certificate = _certificate(held_out, verdicts, task, looks)
    certificate = _without_groups(certificate, criteria)
    certificate = _with_served_share(certificate, look)
    play = check_play(task.play, _play_facts(look, sums, certificate, criteria, inputs_per_day))
    report = _report(verdicts, (*criteria, *play), lock, look.alpha)
    agreed = {pair.input_digest: pair.agrees for pair in look.pairs}
    return Judged(report, certificate, sums, agreed)


def _criteria(look: Look) -> Iterator[CriterionVerdict]:
    criteria = look.task.criteria
    yield from flip_rows(look)
    yield from calibration_rows(look)
    yield from accuracy_rows(look)
    yield from latency_rows(look, *_latency_bar(look.task))
    yield from fairness_rows(look)
    yield from robustness_rows(look)
    yield from behaviour_rows(look.student, look.beside.behaviour, criteria.min_behaviour)
    yield from quantization_rows(look)


def _latency_bar(task: TaskSection) -> tuple[float | None, str]:
    """The stricter of the two bars that a task may set."""
    bars = [task.criteria.max_latency_seconds]
    bars += [task.play.p95_seconds] if isinstance(task.play, LatencyPlay) else []
    return min((bar for bar in bars if bar is not None), default=None), "criteria.max_latency_seconds"


def _held_out(look: Look, places: Sequence[int]) -> HeldOut:
    """Merged sums and the answers themselves."""
    pairs = [look.pairs[place] for place in places]
    return HeldOut(
        merged(SliceSums.of_pair(pair) for pair in pairs),
        tuple((pair.student.confidence, not pair.agrees) for pair in pairs),
    )


def _verdict(name: str, sums: SliceSums, task: TaskSection, alpha: float) -> SliceVerdict:
    rule = rule_of(task.rules, name)
    # the overall draw is by share, so it may fall short of what was asked for; half of it still judges
    least_overall = task.gate.rows // 2
    return slice_verdict(
        name,
        sums.pairs,
        sums.agreements,
        bar=task.gate.bar if name == OVERALL else rule.bar if rule else None,
        alpha=alpha,
        least_pairs=least_overall if name == OVERALL else task.gate.slice_rows,
        critical=name == OVERALL or bool(rule and rule.critical),
        least_to_pass=least_overall if name == OVERALL else LEAST_OF_A_SLICE,
    )


def _report(
    verdicts: Sequence[SliceVerdict], criteria: Sequence[CriterionVerdict], lock: Lock, alpha: float
) -> GateReport:
    outcome, reasons = _outcome(verdicts, [row for row in criteria if row.decides])
    return GateReport(
        outcome=outcome,
        reasons=tuple(reasons),
        lock_digest=lock.digest,
        alpha=alpha,
        verdicts=tuple(verdicts),
        criteria=tuple(criteria),
    )


def _outcome(
    verdicts: Sequence[SliceVerdict], deciding: Sequence[CriterionVerdict]
) -> tuple[Outcome, list[str]]:
    """Any failure fails. No evidence never passes: of the overall slice, or of a criterion that has a bar."""
    overall = next((verdict for verdict in verdicts if verdict.slice == OVERALL), None)
    if overall is None or overall.outcome == "inconclusive":
        return "inconclusive", [overall.reason if overall else "the gate has no rows"]
    failed = [f"{one.slice}: {one.reason}" for one in verdicts if one.critical and one.outcome == "fail"]
    failed += [_said(row) for row in deciding if row.outcome == "fail"]
    if failed:
        return "fail", failed
    unproven = [_said(row) for row in deciding if row.outcome == "inconclusive"]
    return ("inconclusive", unproven) if unproven else ("pass", [])


def _said(row: CriterionVerdict) -> str:
    return f"{row.criterion}, {row.name}: {row.reason}"


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


def _without_groups(certificate: Certificate, criteria: Sequence[CriterionVerdict]) -> Certificate:
    """Protected groups whose gaps are not shown to be within their bars stay with the teacher."""
    unproven = {
        row.name.partition(", ")[2]
        for row in criteria
        if row.criterion == Criterion.FAIRNESS and row.outcome in ("fail", "inconclusive")
    }
    lines = {
        name: _without(line, unproven) for name, line in certificate.slices.items() if name not in unproven
    }
    kept = {name: line for name, line in lines.items() if line is not None}
    return certificate.model_copy(update={"slices": kept})


def _without(line: CertifiedSlice, groups: set[str]) -> CertifiedSlice | None:
    """A pool without these members; None where it has no others."""
    pool = tuple(name for name in line.pool if name not in groups)
    return None if line.pool and not pool else line.model_copy(update={"pool": pool})


def _with_served_share(certificate: Certificate, look: Look) -> Certificate:
    """How many of the rows that were drawn whatever their slice the student would have served."""
    thresholds, rules = certificate.thresholds, look.task.rules
    served = sum(
        all(
            look.answers[place].confidence >= thresholds.get(name, math.inf)
            for name in look.entries[place].row.slices
            if decides_who_serves(rules, name)
        )
        for place in look.drawn
    )
    return certificate.model_copy(update={"served": served, "drawn": len(look.drawn)})


def _pools(held_out: Mapping[str, HeldOut], task: TaskSection) -> dict[str, str]:
    """By slice, the pool of its rule. A slice that has to meet a bar must prove itself alone."""
    rules = {name: rule_of(task.rules, name) for name in held_out}
    return {name: f"{rule.name}:small" for name, rule in rules.items() if rule and rule.bar is None}


def _play_facts(
    look: Look,
    sums: Mapping[str, SliceSums],
    certificate: Certificate,
    criteria: Sequence[CriterionVerdict],
    inputs_per_day: float | None,
) -> PlayFacts:
    overall = sums.get(OVERALL, SliceSums())
    return PlayFacts(
        alpha=look.alpha,
        pairs=overall.pairs,
        agreements=overall.agreements,
        served=certificate.served,
        drawn=certificate.drawn,
        audit_share=look.task.fallback.audit_share,
        inputs_per_day=inputs_per_day,
        call_cost=look.task.teacher.call_cost,
        latency=[row for row in criteria if row.criterion == Criterion.LATENCY],
        gain=_gain(look),
    )


def _gain(look: Look) -> Known | None:
    """Accuracy above the teacher's on the labelled rows; None without any."""
    labelled = [place for place in look.drawn if look.labels[place] is not None]
    if not labelled:
        return None
    teacher = [look.pairs[place].teacher.top == look.labels[place] for place in labelled]
    student = [look.answers[place].top == look.labels[place] for place in labelled]
    loss = loss_known(teacher, student, look.alpha, "the teacher")
    value, low, high = loss.value or 0.0, loss.low or 0.0, loss.high or 0.0
    return Known(loss.counts, loss.count, -value, -high, -low)
