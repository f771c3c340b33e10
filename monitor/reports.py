"""Reads kept sums back: merged over a stretch of time, and as rows of plain numbers for API and terminal."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlmodel import Session, col, select

from ledger.exchange import TEACHER_AGAIN
from ledger.slices import OVERALL, SliceRule, rule_of
from ledger.tables import SumsRow
from monitor.intervals import INTERVAL_ALPHA, bounded_share
from monitor.label_shares import label_shares
from monitor.sums import SliceSums, merged

WHOLE_LIFE = -1  # window_start_us of the row that sums over every window of a slice and student


@dataclass(frozen=True, slots=True)
class SliceReport:
    """One slice of one student in plain numbers; None where nothing was there to divide by."""

    slice: str
    critical: bool
    bar: float | None
    pairs: int
    agreements: int
    fidelity: float | None
    fidelity_low: float | None  # 95 % bounds that hold at every look
    fidelity_high: float | None
    labelled: int
    effective_labels: float  # as many equally weighted labels say as much: what the bounds are reckoned with
    accuracy: float | None
    accuracy_low: float | None  # like those of the fidelity for labels of equal weight, as are the next two
    accuracy_high: float | None
    teacher_accuracy: float | None
    teacher_accuracy_low: float | None
    teacher_accuracy_high: float | None
    student_regret: float | None
    student_regret_low: float | None
    student_regret_high: float | None
    calibration_error: float | None  # against the teacher
    calibration_error_debiased: float | None  # against the teacher, root mean square
    label_calibration_error: float | None
    divergence_bits: float | None
    kl_nats: float | None
    total_variation: float | None
    brier: float | None
    nll_nats: float | None
    temperature: float | None  # at which the student fits its teacher best

    def plain(self) -> dict[str, Any]:
        return asdict(self)


def merged_sums(
    session: Session,
    task: str,
    artifact: str,
    since_us: int | None = None,
    until_us: int | None = None,
) -> dict[str, SliceSums]:
    """Sums by slice over the windows that start in [since_us, until_us); over all when both are None.

    The grain is the window: a window counts whole, by its start.
    """
    query = select(SumsRow).where(SumsRow.task == task, SumsRow.artifact == artifact)
    start = col(SumsRow.window_start_us)
    if since_us is None and until_us is None:
        query = query.where(start == WHOLE_LIFE)
    else:
        query = query.where(start >= (since_us or 0))
        query = query if until_us is None else query.where(start < until_us)
    parts: dict[str, list[SliceSums]] = {}
    for row in session.exec(query):
        parts.setdefault(row.slice, []).append(SliceSums.from_json(row.sums))
    return {name: merged(parts[name]) for name in in_order(parts)}


def sums_over_time(
    session: Session,
    task: str,
    artifact: str,
    slice_name: str,
    since_us: int | None = None,
    until_us: int | None = None,
) -> dict[int, SliceSums]:
    """Sums of one slice by the start of each window that is still kept, in order of time."""
    start = col(SumsRow.window_start_us)
    query = select(SumsRow).where(
        SumsRow.task == task,
        SumsRow.artifact == artifact,
        SumsRow.slice == slice_name,
        start >= max(0, since_us or 0),
    )
    query = query if until_us is None else query.where(start < until_us)
    return {row.window_start_us: SliceSums.from_json(row.sums) for row in session.exec(query.order_by(start))}


def students_with_sums(session: Session, task: str) -> list[str]:
    """Every student of which at least one pair was folded."""
    query = select(SumsRow.artifact).where(
        SumsRow.task == task,
        SumsRow.artifact != TEACHER_AGAIN,
        SumsRow.slice == OVERALL,
        SumsRow.window_start_us == WHOLE_LIFE,
    )
    return sorted(session.exec(query))


def slice_reports(
    sums_by_slice: Mapping[str, SliceSums],
    rules: Sequence[SliceRule],
    overall_bar: float | None = None,
    alpha: float = INTERVAL_ALPHA,
) -> list[SliceReport]:
    """One row for each slice, the overall one first, then by name."""
    return [
        _report(name, sums_by_slice[name], rule_of(rules, name), overall_bar, alpha)
        for name in in_order(sums_by_slice)
    ]


def in_order(names: Mapping[str, object]) -> list[str]:
    """The overall slice first, then by name."""
    return sorted(names, key=slice_order)


def slice_order(name: str) -> tuple[bool, str]:
    return name != OVERALL, name


def _report(
    name: str, sums: SliceSums, rule: SliceRule | None, overall_bar: float | None, alpha: float
) -> SliceReport:
    fidelity = bounded_share(sums.agreements, sums.pairs, alpha)
    by_labels = label_shares(sums, alpha)
    accuracy, teacher, regret = by_labels.accuracy, by_labels.teacher_accuracy, by_labels.regret
    return SliceReport(
        slice=name,
        critical=name == OVERALL or (rule is not None and rule.critical),
        bar=overall_bar if name == OVERALL else rule.bar if rule is not None else None,
        pairs=sums.pairs,
        agreements=sums.agreements,
        fidelity=fidelity.value,
        fidelity_low=fidelity.low,
        fidelity_high=fidelity.high,
        labelled=sums.labelled,
        effective_labels=sums.effective_labels,
        accuracy=accuracy.value,
        accuracy_low=accuracy.low,
        accuracy_high=accuracy.high,
        teacher_accuracy=teacher.value,
        teacher_accuracy_low=teacher.low,
        teacher_accuracy_high=teacher.high,
        student_regret=regret.value,
        student_regret_low=regret.low,
        student_regret_high=regret.high,
        calibration_error=_number(sums.calibration_error),
        calibration_error_debiased=_number(sums.debiased_calibration_error),
        label_calibration_error=_number(sums.label_calibration_error),
        divergence_bits=_number(sums.mean_divergence_bits),
        kl_nats=_number(sums.mean_kl_nats),
        total_variation=_number(sums.mean_total_variation),
        brier=_number(sums.mean_brier),
        nll_nats=_number(sums.mean_nll_nats),
        temperature=_number(sums.temperature),
    )


def _number(value: float) -> float | None:
    """nan has no JSON form."""
    return None if math.isnan(value) else value
