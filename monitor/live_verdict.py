"""May this student go up? Its live pairs are judged by five criteria, each with its own bar, slice by slice."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from ledger.configuration import TaskSection
from ledger.slices import OVERALL, rule_of
from monitor import criteria
from monitor.criteria import SETTINGS, Criterion, bars_of
from monitor.intervals import excludes
from monitor.sums import SliceSums
from monitor.verdict import Bar, Known, Outcome, judge

NOT_JUDGED: Literal["not_judged"] = "not_judged"


@dataclass(frozen=True, slots=True)
class Judged:
    """One criterion of one slice; bounds hold at every look, and a bar of None is not judged."""

    criterion: Criterion
    outcome: Outcome | Literal["not_judged"]
    value: float | None
    low: float | None
    high: float | None
    bar: float | None
    count: int
    reason: str


@dataclass(frozen=True, slots=True)
class SliceJudgement:
    """One slice: it fails if any criterion fails, and passes if every judged one passes."""

    slice: str
    decides: bool  # the overall slice has to pass, a critical one must not fail, others are told
    outcome: Outcome
    criteria: tuple[Judged, ...]

    def reasons(self, outcome: str) -> tuple[str, ...]:
        return tuple(f"{one.criterion}: {one.reason}" for one in self.criteria if one.outcome == outcome)

    @property
    def reason(self) -> str:
        """Of its outcome, or that nothing is judged."""
        return "; ".join(self.reasons(self.outcome) or self.reasons(NOT_JUDGED))


@dataclass(frozen=True, slots=True)
class LiveVerdict:
    """A verdict over all slices, with the judgement of each slice that decides."""

    outcome: Outcome
    reasons: tuple[str, ...]
    slices: tuple[SliceJudgement, ...]


def judge_live(
    sums_by_slice: Mapping[str, SliceSums], task: TaskSection, thresholds: Mapping[str, float]
) -> LiveVerdict:
    """The overall slice has to pass every judged criterion, and no critical slice may fail one.

    A critical slice that is not proven yet stops nothing: its certificate decides what it may serve. `thresholds`
    are those that hold now.
    """
    deciding = [OVERALL, *(name for name in sorted(sums_by_slice) if _is_critical(name, task))]
    lines = [judge_live_slice(name, sums_by_slice, task, thresholds) for name in deciding]
    outcome: Outcome = "fail" if any(line.outcome == "fail" for line in lines) else lines[0].outcome
    return LiveVerdict(outcome, tuple(_reasons(lines, outcome)), tuple(lines))


def judge_live_slice(
    name: str, sums_by_slice: Mapping[str, SliceSums], task: TaskSection, thresholds: Mapping[str, float]
) -> SliceJudgement:
    rule = rule_of(task.rules, name)
    fidelity = task.gate.bar if name == OVERALL else rule.bar if rule is not None else None
    bars = bars_of(fidelity, task.verdict)
    known = _known(name, sums_by_slice, task, thresholds, bars)
    least = task.gate.rows if name == OVERALL else task.gate.slice_rows
    judged = tuple(_judged(one, known.get(one), bars[one], least, task.gate.alpha) for one in Criterion)
    return SliceJudgement(name, name == OVERALL or _is_critical(name, task), _outcome(judged), judged)


def _known(
    name: str,
    sums_by_slice: Mapping[str, SliceSums],
    task: TaskSection,
    thresholds: Mapping[str, float],
    bars: Mapping[Criterion, Bar | None],
) -> dict[Criterion, Known]:
    """Of each criterion that has a bar here: what is saved is a sum over the traffic, and judged there alone."""
    sums, alpha = sums_by_slice.get(name, SliceSums()), task.gate.alpha
    ways = {
        Criterion.FIDELITY: criteria.fidelity,
        Criterion.ACCURACY: criteria.accuracy,
        Criterion.CALIBRATION: criteria.calibration,
        Criterion.LATENCY: criteria.latency,
    }
    found = {one: way(sums, alpha) for one, way in ways.items() if bars[one] is not None}
    if bars[Criterion.COST] is not None and name == OVERALL:
        found[Criterion.COST] = criteria.cost(sums_by_slice, task.rules, thresholds, task.fallback, alpha)
    return found


def _judged(criterion: Criterion, known: Known | None, bar: Bar | None, least: int, alpha: float) -> Judged:
    if known is None or bar is None:
        why = f"{SETTINGS[criterion]} is not set" if bar is None else "it is judged over all traffic"
        return Judged(criterion, NOT_JUDGED, None, None, None, None, 0, f"not judged: {why}")
    needed = max(least, _provable_from(bar.at, alpha)) if criterion is Criterion.FIDELITY else 1
    verdict = judge(known, bar, needed)
    return Judged(
        criterion,
        verdict.outcome,
        known.value,
        known.low,
        known.high,
        bar.at,
        known.count,
        "; ".join(verdict.reasons),
    )


def _provable_from(bar: float, alpha: float) -> int:
    """With fewer pairs not even full agreement proves the bar."""
    high = 1
    while not excludes(high, high, bar, alpha):
        high *= 2
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if excludes(middle, middle, bar, alpha) else (middle, high)
    return high


def _outcome(judged: tuple[Judged, ...]) -> Outcome:
    outcomes = {one.outcome for one in judged} - {NOT_JUDGED}
    if "fail" in outcomes:
        return "fail"
    return "pass" if outcomes == {"pass"} else "inconclusive"


def _is_critical(name: str, task: TaskSection) -> bool:
    rule = rule_of(task.rules, name)
    return rule is not None and rule.critical


def _reasons(lines: list[SliceJudgement], outcome: Outcome) -> Iterator[str]:
    """What stands in the way, or the proofs where nothing does; then what nobody asked to be judged."""
    told = lines if outcome == "fail" else lines[:1]
    for line in told:
        yield from (f"{line.slice}: {reason}" for reason in line.reasons(outcome))
    if outcome != "fail":
        yield from _unjudged(lines[0])


def _unjudged(line: SliceJudgement) -> Iterator[str]:
    settings = [SETTINGS[one.criterion] for one in line.criteria if one.outcome == NOT_JUDGED]
    if settings:
        yield f"not judged, since they are not set: {', '.join(settings)}"
