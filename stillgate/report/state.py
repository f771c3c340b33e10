"""The state of a student in one word, with why and on what it rests: two sentences that a reader can act on."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from ledger.stages import ANSWERING, SERVING
from monitor.drawing.words import moment, percent, words
from monitor.live_verdict import LiveVerdict
from stillgate.report.coverage import Coverage
from stillgate.report.history import AlarmLine, StudentLine
from stillgate.report.slices import SliceLine

LEAST_COVERAGE = 0.5  # of the eligible traffic: the answers that are missing could otherwise decide
MOST_UNFOLDED = 0.1  # of the answers: the monitor has stopped, or cannot keep up


class Health(StrEnum):
    HEALTHY = "healthy"  # the bar of all traffic is proven, no alarm fired, no critical slice fails
    DRIFTING = "drifting"  # an alarm fired, or a bar is refuted
    CANNOT_SAY = "cannot say"  # too little evidence for either


@dataclass(frozen=True, slots=True)
class State:
    health: Health
    why: str
    basis: str


def state_of(
    task: str,
    student: str | None,
    overall: SliceLine | None,
    verdict: LiveVerdict,
    alarms: Sequence[AlarmLine],
    coverage: Coverage,
    students: Sequence[StudentLine],
) -> State:
    """`alarms` are those of this student in the period."""
    health, why = _health(task, student, overall, verdict, alarms, coverage)
    return State(health, why, _basis(student, coverage, students))


def _health(
    task: str,
    student: str | None,
    overall: SliceLine | None,
    verdict: LiveVerdict,
    alarms: Sequence[AlarmLine],
    coverage: Coverage,
) -> tuple[Health, str]:
    if student is None:
        return (
            Health.CANNOT_SAY,
            f"no student has answered for task {task} yet, so there is nothing to compare",
        )
    if alarms:
        return Health.DRIFTING, _alarmed(student, alarms)
    if overall is None or not overall.report.pairs:
        return Health.CANNOT_SAY, f"{student} has no pairs with its teacher in this time"
    if verdict.outcome == "fail":
        return Health.DRIFTING, f"{student} misses a bar on {verdict.reasons[0]}"
    if coverage.eligible_share is not None and coverage.eligible_share < LEAST_COVERAGE:
        return Health.CANNOT_SAY, f"most of the eligible traffic has no answer of {student} to compare"
    if coverage.unfolded_share > MOST_UNFOLDED:
        return Health.CANNOT_SAY, (
            f"the monitor has not looked at {coverage.unfolded_answers} answers yet; see that it runs"
        )
    if verdict.outcome == "inconclusive":
        return Health.CANNOT_SAY, f"a bar is not proven yet: {verdict.reasons[0]}"
    return Health.HEALTHY, _healthy(student, overall)


def _alarmed(student: str, alarms: Sequence[AlarmLine]) -> str:
    first = alarms[0]
    slices = list(dict.fromkeys(alarm.slice for alarm in alarms))
    more = f", and {len(slices) - 1} more slices since" if len(slices) > 1 else ""
    led = f" (job {first.job_id})" if first.job_id else ""
    when = f"alarm {first.id}, {moment(first.at_us)} UTC"
    return f"{student} drifted from its teacher on {first.slice}: {when}{led}{more}"


def _healthy(student: str, overall: SliceLine) -> str:
    report = overall.report
    return (
        f"{student} agrees with its teacher on {percent(report.fidelity)} of the inputs"
        f" ({percent(report.fidelity_low)} to {percent(report.fidelity_high)}), proven to be above the bar of"
        f" {percent(report.bar)}; no alarm fired and no critical slice misses a bar"
    )


def _basis(student: str | None, coverage: Coverage, students: Sequence[StudentLine]) -> str:
    serving = next((one for one in students if one.stage in SERVING), None)
    who = (
        "the teacher answers every caller"
        if serving is None
        else f"{serving.artifact} may answer {percent(serving.share, 0)} of the requests where it is certified"
    )
    own = next((one for one in students if one.artifact == student), None)
    if own is not None and own.stage not in ANSWERING:
        who = f"{student} is {words(own.stage)} by now, and {who}"
    if student is None:
        return f"{coverage.requests:,} requests of the task are recorded; {who}"
    if coverage.eligible_share is None:
        return f"no eligible request was recorded in this time; {who}"
    return (
        f"Based on {percent(coverage.eligible_share)} of eligible traffic ({coverage.answered:,} of"
        f" {coverage.eligible + coverage.lost:,} requests); {who}"
    )
