"""The slice table: one line for each slice of the student, from its sums, its certificate and the traffic."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ledger.configuration import TaskSection
from ledger.slices import OVERALL, rule_of
from monitor.intervals import BoundedShare, bounded_share
from monitor.live_verdict import Judged, LiveVerdict, SliceJudgement, judge_live_slice
from monitor.reports import SliceReport, slice_reports
from monitor.statistics import reference_in, statistics_of
from monitor.sums import SliceSums
from stillgate.report.traffic import SliceTraffic

OTHER = "other"  # where the monitor counts the values of a header that had no room


@dataclass(frozen=True, slots=True)
class SliceLine:
    """One slice in plain numbers; None where nothing was there to divide by, or to compare with."""

    report: SliceReport
    verdict: str  # pass, fail, inconclusive
    reason: str
    criteria: tuple[Judged, ...]
    alarms: int  # of this student in the period
    threshold: float | None  # confidence from which the student may serve
    above_threshold: BoundedShare | None  # of the pairs
    requests: int | None  # None for slices that the request alone does not tell
    served_share: float | None
    eligible: int | None
    answered: int | None
    coverage_share: float | None
    statistics: Mapping[str, Any] | None = None  # statistics_of, for the slices that the page shows


def slice_lines(
    sums: Mapping[str, SliceSums],
    task: TaskSection,
    live: LiveVerdict,
    thresholds: Mapping[str, float],
    traffic: Mapping[str, SliceTraffic],
    alarmed: Sequence[str],
) -> list[SliceLine]:
    """The overall slice first, then alarmed ones, failing ones, critical ones, and the largest of the rest."""
    judged = {line.slice: line for line in live.slices}
    of_slices = _traffic_by_slice(traffic, sums)
    lines = [
        _line(
            report,
            sums[report.slice],
            task,
            judged.get(report.slice) or judge_live_slice(report.slice, sums, task, thresholds),
            thresholds.get(report.slice),
            of_slices.get(report.slice),
            alarmed.count(report.slice),
        )
        for report in slice_reports(sums, task.rules, task.gate.bar)
    ]
    return sorted(lines, key=_rank)


def with_statistics(
    lines: Sequence[SliceLine],
    sums: Mapping[str, SliceSums],
    kept: Mapping[str, Mapping[str, Any]],
    classes: int,
) -> Iterator[SliceLine]:
    """`kept` is the reference of the student's manifest."""
    for line in lines:
        name = line.report.slice
        yield replace(line, statistics=statistics_of(sums[name], reference_in(kept, name), classes))


def _rank(line: SliceLine) -> tuple[bool, bool, bool, bool, int, str]:
    report = line.report
    return (
        report.slice != OVERALL,
        not line.alarms,
        line.verdict != "fail",
        not report.critical,
        -report.pairs,
        report.slice,
    )


def _line(
    report: SliceReport,
    sums: SliceSums,
    task: TaskSection,
    judged: SliceJudgement,
    threshold: float | None,
    traffic: SliceTraffic | None,
    alarms: int,
) -> SliceLine:
    rule = rule_of(task.rules, report.slice)
    told = traffic if report.slice == OVERALL or (rule is not None and rule.decides_who_serves) else None
    return SliceLine(
        report=report,
        verdict=judged.outcome,
        reason=judged.reason,
        criteria=judged.criteria,
        alarms=alarms,
        threshold=threshold,
        above_threshold=_above(sums, threshold),
        requests=told.requests if told else None,
        served_share=_share(told.served_by_student, told.requests) if told else None,
        eligible=told.eligible if told else None,
        answered=told.answered if told else None,
        coverage_share=_share(told.answered, told.eligible) if told else None,
    )


def _above(sums: SliceSums, threshold: float | None) -> BoundedShare | None:
    return None if threshold is None else bounded_share(sums.accepted_from(threshold)[0], sums.pairs)


def _traffic_by_slice(traffic: Mapping[str, SliceTraffic], known: Collection[str]) -> dict[str, SliceTraffic]:
    """Under the names that the monitor counts by: a value that had no room there is in `NAME=other`."""
    found: dict[str, SliceTraffic] = {}
    for name, counts in traffic.items():
        place = name if name in known else f"{name.partition('=')[0]}={OTHER}"
        found[place] = found.get(place, SliceTraffic()).plus(
            counts.requests, counts.served_by_student, counts.eligible, counts.answered
        )
    return found


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
