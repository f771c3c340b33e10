"""The slice table: one line for each slice of the student, from its sums, its certificate and the traffic."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from ledger.artifacts import SliceVerdict
from ledger.configuration import GateSection
from ledger.slices import OVERALL, SliceRule, rule_of
from monitor.calibration import bin_of, edges
from monitor.reports import SliceReport, slice_reports
from monitor.sums import COVERAGE_EDGES, SliceSums
from monitor.verdict import LiveVerdict, judge_growing_slice
from stillgate.report.traffic import SliceTraffic

OTHER = "other"  # where the monitor counts the values of a header that had no room


@dataclass(frozen=True, slots=True)
class SliceLine:
    """One slice in plain numbers; None where nothing was there to divide by, or to compare with."""

    report: SliceReport
    verdict: str  # pass, fail, inconclusive
    reason: str
    alarms: int  # of this student in the period
    threshold: float | None  # confidence from which the student may serve
    above_threshold_share: float | None  # of the pairs
    requests: int | None  # None for slices that the request alone does not tell
    served_share: float | None
    eligible: int | None
    answered: int | None
    coverage_share: float | None


def slice_lines(
    sums: Mapping[str, SliceSums],
    rules: Sequence[SliceRule],
    gate: GateSection,
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
            rules,
            gate,
            judged.get(report.slice),
            thresholds.get(report.slice),
            of_slices.get(report.slice),
            alarmed.count(report.slice),
        )
        for report in slice_reports(sums, rules, gate.bar)
    ]
    return sorted(lines, key=_rank)


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
    rules: Sequence[SliceRule],
    gate: GateSection,
    judged: SliceVerdict | None,
    threshold: float | None,
    traffic: SliceTraffic | None,
    alarms: int,
) -> SliceLine:
    verdict, reason = (judged.outcome, judged.reason) if judged else _judged(report, gate)
    rule = rule_of(rules, report.slice)
    told = traffic if report.slice == OVERALL or (rule is not None and rule.decides_who_serves) else None
    return SliceLine(
        report=report,
        verdict=verdict,
        reason=reason,
        alarms=alarms,
        threshold=threshold,
        above_threshold_share=_above(sums, threshold),
        requests=told.requests if told else None,
        served_share=_share(told.served_by_student, told.requests) if told else None,
        eligible=told.eligible if told else None,
        answered=told.answered if told else None,
        coverage_share=_share(told.answered, told.eligible) if told else None,
    )


def _judged(report: SliceReport, gate: GateSection) -> tuple[str, str]:
    """A slice that is not critical decides nothing; it is judged the same way for people."""
    verdict = judge_growing_slice(report.pairs, report.agreements, report.bar, gate.alpha, gate.slice_rows)
    return verdict.outcome, "; ".join(verdict.reasons)


def _above(sums: SliceSums, threshold: float | None) -> float | None:
    if threshold is None or not sums.pairs:
        return None
    return sums.accepted[_edge(threshold)][0] / sums.pairs


def _edge(threshold: float) -> int:
    """The place of a threshold in the grid, rounded up: never more than are really above it."""
    index = bin_of(threshold, COVERAGE_EDGES)
    return index if edges(COVERAGE_EDGES)[index] >= threshold else min(index + 1, COVERAGE_EDGES - 1)


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
