"""What a student would have served from the pairs of some days, at every threshold and share of the traffic.

Made of sums alone. Shares carry bounds that hold at every look (monitor.intervals), latencies too (monitor.quantiles),
and savings those of the share that they follow from. What the sums cannot say is said in words.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ledger.configuration import TaskSection
from ledger.slices import OVERALL, decides_who_serves
from monitor.calibration import edges
from monitor.certificate import saved_share
from monitor.histograms import LATENCY_EDGES
from monitor.intervals import BoundedShare, bounded_share, weighted_share
from monitor.quantiles import BoundedQuantile, bounded_quantile
from monitor.reports import in_order
from monitor.served import Range, Served, served_by
from monitor.sums import COVERAGE_EDGES, SliceSums, Vector, edge_at_or_above

SHARES = (0.1, 0.25, 0.5, 1.0)  # of the traffic, unless others are asked for
FEW = 100  # pairs or labels: with fewer, an interval is some ten points wide on either side
QUANTILES: Mapping[str, float] = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
MONEY_INPUTS = 1000  # money is told for so many inputs of the traffic


@dataclass(frozen=True, slots=True)
class Amount:
    """With the bounds of the share that it follows from; None where nothing is known."""

    value: float | None
    low: float | None
    high: float | None

    @classmethod
    def following(cls, share: BoundedShare | Range, rule: Callable[[float], float]) -> "Amount":
        """`rule` rises, so bounds become bounds."""
        value, low, high = (
            None if one is None else rule(one) for one in (share.value, share.low, share.high)
        )
        return cls(value, low, high)


@dataclass(frozen=True, slots=True)
class AtShare:
    """With so much of the traffic in the student's arm."""

    share: float
    served: Amount  # of all inputs
    saved: Amount  # of the teacher's cost
    money: Amount | None  # saved on MONEY_INPUTS inputs; None where the teacher's cost is not declared


@dataclass(frozen=True, slots=True)
class AtThreshold:
    """What is answered with at least this confidence."""

    threshold: float
    is_certified: bool  # the certificate of the slice holds from here on
    coverage: BoundedShare  # of the pairs
    disagreement: BoundedShare  # with the teacher, of those: the selective risk, which a certificate bounds
    joint_disagreement: BoundedShare  # with the teacher and answered so, of all pairs: the joint risk
    accuracy: BoundedShare  # of those with a label, weighted; its counts are effective numbers
    teacher_accuracy: BoundedShare  # of the same
    at_shares: tuple[AtShare, ...]


@dataclass(frozen=True, slots=True)
class SlicePreview:
    """One slice where its certificate holds."""

    slice: str
    pairs: int
    certified: AtThreshold | None
    why_not: str | None  # the teacher serves it


@dataclass(frozen=True, slots=True)
class Preview:
    """One slice at every threshold, and every slice at its own."""

    slice: str
    pairs: int
    labelled: int
    threshold: float | None  # certified, as it holds now
    latency_seconds: Mapping[str, Mapping[str, BoundedQuantile]]  # side -> quantile
    thresholds: tuple[AtThreshold, ...]  # rising; one that accepts what the next does is left out
    as_certified: Served | None  # of all traffic, with every certified threshold at once
    as_certified_at_shares: tuple[AtShare, ...]
    slices: tuple[SlicePreview, ...]
    cannot_say: tuple[str, ...]

    def plain(self) -> dict[str, Any]:
        return asdict(self)


def preview_of(
    sums_by_slice: Mapping[str, SliceSums],
    task: TaskSection,
    thresholds: Mapping[str, float],
    void: Mapping[str, str],
    slice_name: str = OVERALL,
    shares: Sequence[float] = SHARES,
) -> Preview:
    """`thresholds` has those that hold now, by slice; `void` why others do not."""
    sums = sums_by_slice.get(slice_name, SliceSums())
    certified, why_not = _held(slice_name, task, thresholds, void)
    is_joint = slice_name == OVERALL and certified is not None and sums.pairs > 0
    served = served_by(sums_by_slice, task.rules, thresholds) if is_joint else None
    return Preview(
        slice=slice_name,
        pairs=sums.pairs,
        labelled=sums.labelled,
        threshold=certified,
        latency_seconds={
            "student": _latency(sums.student_latency),
            "teacher": _latency(sums.teacher_latency),
        },
        thresholds=tuple(_rows(sums, certified, task, shares)),
        as_certified=served,
        as_certified_at_shares=_at_shares(served.coverage, task, shares) if served else (),
        slices=tuple(_slices(sums_by_slice, task, thresholds, void, shares)),
        cannot_say=tuple(_cannot_say(slice_name, sums, task, served, why_not)),
    )


def _rows(
    sums: SliceSums, certified: float | None, task: TaskSection, shares: Sequence[float]
) -> Iterator[AtThreshold]:
    place = None if certified is None else edge_at_or_above(certified)
    accepted = [*(pairs for pairs, _ in sums.accepted), 0]
    for index in range(COVERAGE_EDGES):
        if accepted[index] > accepted[index + 1] or (index == place and sums.pairs):
            yield _row(sums, index, index == place, task, shares)


def _row(
    sums: SliceSums, index: int, is_certified: bool, task: TaskSection, shares: Sequence[float]
) -> AtThreshold:
    pairs, disagreements = sums.accepted[index]
    labelled, errors, teacher_errors = sums.label_accepted[index]
    told = labelled if sums.has_teacher_errors else 0
    coverage = bounded_share(pairs, sums.pairs)
    return AtThreshold(
        threshold=edges(COVERAGE_EDGES)[index],
        is_certified=is_certified,
        coverage=coverage,
        disagreement=bounded_share(disagreements, pairs),
        joint_disagreement=bounded_share(disagreements, sums.pairs),
        accuracy=weighted_share(labelled - errors, labelled, sums.label_worth),
        teacher_accuracy=weighted_share(labelled - teacher_errors, told, sums.label_worth),
        at_shares=_at_shares(coverage, task, shares),
    )


def _at_shares(
    coverage: BoundedShare | Range, task: TaskSection, shares: Sequence[float]
) -> tuple[AtShare, ...]:
    cost, fallback = task.teacher.call_cost, task.fallback

    def saved(covered: float) -> float:
        return saved_share(covered, fallback.student_cost, fallback.audit_share)

    def at(share: float) -> AtShare:
        return AtShare(
            share=share,
            served=Amount.following(coverage, lambda covered: share * covered),
            saved=Amount.following(coverage, lambda covered: share * saved(covered)),
            money=None
            if cost is None
            else Amount.following(coverage, lambda covered: MONEY_INPUTS * cost * share * saved(covered)),
        )

    return tuple(map(at, shares))


def _latency(histogram: Vector) -> dict[str, BoundedQuantile]:
    return {
        name: bounded_quantile(histogram, LATENCY_EDGES, share).scaled(1e-6)
        for name, share in QUANTILES.items()
    }


def _slices(
    sums_by_slice: Mapping[str, SliceSums],
    task: TaskSection,
    thresholds: Mapping[str, float],
    void: Mapping[str, str],
    shares: Sequence[float],
) -> Iterator[SlicePreview]:
    """Those with pairs that a request alone tells, each from where it would be served."""
    for name in in_order(sums_by_slice):
        sums = sums_by_slice[name]
        if sums.pairs and decides_who_serves(task.rules, name):
            threshold, why_not = _held(name, task, thresholds, void)
            row = None
            if threshold is not None and why_not is None:
                row = _row(sums, edge_at_or_above(threshold), True, task, shares)
            yield SlicePreview(name, sums.pairs, row, why_not)


def _held(
    name: str, task: TaskSection, thresholds: Mapping[str, float], void: Mapping[str, str]
) -> tuple[float | None, str | None]:
    """From which confidence a slice would be served, or why it would not: the higher of its own threshold and the
    overall one, or that alone for a slice that only measures."""
    names = {name, OVERALL} if decides_who_serves(task.rules, name) else {OVERALL}
    for needed in sorted(names, key=lambda one: one == OVERALL):
        if needed in void:
            why = f"the certificate of {needed} is void ({void[needed]}), so the teacher serves it"
            return None, why
        if needed not in thresholds:
            return None, f"no threshold is certified for {needed}, so the teacher serves it"
    threshold = max(thresholds[one] for one in names)
    is_counted = edge_at_or_above(threshold) < COVERAGE_EDGES
    return threshold, None if is_counted else _beyond(threshold)


def _beyond(threshold: float) -> str:
    last = edges(COVERAGE_EDGES)[-1]
    return f"its threshold {threshold:.4f} lies above {last:g}, the last that is counted: what it accepts is unknown"


def _cannot_say(
    name: str, sums: SliceSums, task: TaskSection, served: Served | None, uncertified: str | None
) -> Iterator[str]:
    if not sums.pairs:
        yield f"{name} has no pair in this time, so there is nothing to preview; look further back"
        return
    if sums.pairs < FEW:
        yield f"{sums.pairs} pairs are few: read the bounds, not the shares"
    if uncertified is not None:
        yield f"{uncertified}; the rows say what was seen at each threshold, not what may be served"
    if served is not None and served.coverage.value is None:
        yield (
            "several slice rules decide who serves, and the sums do not tell which inputs more than one of them"
            " withholds: what the certificate would serve is given as bounds"
        )
    if not sums.labelled:
        yield "no label has come for these pairs, so accuracy is unknown: agreement with the teacher is not accuracy"
    elif sums.labelled < FEW:
        yield f"{sums.labelled} labels are few: read the bounds of the accuracy, not its value"
    if sums.labelled and not sums.has_teacher_errors:
        yield (
            "an earlier release counted some of these labels without the teacher's errors by confidence, so the"
            " teacher's accuracy at a threshold is unknown"
        )
    if task.teacher.call_cost is None:
        yield "task.teacher.call_cost is not set, so savings are shares of the teacher's cost and not money"
    for side, histogram in (("student", sums.student_latency), ("teacher", sums.teacher_latency)):
        if not histogram:
            yield f"no pair has a latency of the {side}"
