"""Reads kept sums back: merged over a stretch of time, and as rows of plain numbers for API and terminal."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlmodel import Session, col, select

from ledger.slices import OVERALL, SliceRule, rule_of
from ledger.tables import SumsRow
from monitor.intervals import confidence_sequence
from monitor.sums import SliceSums, merged

WHOLE_LIFE = -1  # window_start_us of the row that sums over every window of a slice and student
INTERVAL_ALPHA = 0.05


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
    accuracy_low: float | None  # 95 % bounds that hold at every look, for labels of equal weight
    accuracy_high: float | None
    teacher_accuracy: float | None
    student_regret: float | None
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
        SumsRow.task == task, SumsRow.slice == OVERALL, SumsRow.window_start_us == WHOLE_LIFE
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


def accuracy_bounds(
    sums: SliceSums, alpha: float = INTERVAL_ALPHA
) -> tuple[float, float] | tuple[None, None]:
    """Of the student's accuracy; weighted labels count as many as their effective number, an approximation."""
    size = sums.effective_labels
    return confidence_sequence(sums.accuracy * size, size, alpha) if size else (None, None)


def in_order(names: Mapping[str, object]) -> list[str]:
    """The overall slice first, then by name."""
    return sorted(names, key=slice_order)


def slice_order(name: str) -> tuple[bool, str]:
    return name != OVERALL, name


def _report(
    name: str, sums: SliceSums, rule: SliceRule | None, overall_bar: float | None, alpha: float
) -> SliceReport:
    low, high = confidence_sequence(sums.agreements, sums.pairs, alpha)
    accuracy_low, accuracy_high = accuracy_bounds(sums, alpha)
    return SliceReport(
        slice=name,
        critical=name == OVERALL or (rule is not None and rule.critical),
        bar=overall_bar if name == OVERALL else rule.bar if rule is not None else None,
        pairs=sums.pairs,
        agreements=sums.agreements,
        fidelity=_number(sums.fidelity),
        fidelity_low=low if sums.pairs else None,
        fidelity_high=high if sums.pairs else None,
        labelled=sums.labelled,
        effective_labels=sums.effective_labels,
        accuracy=_number(sums.accuracy),
        accuracy_low=accuracy_low,
        accuracy_high=accuracy_high,
        teacher_accuracy=_number(sums.teacher_accuracy),
        student_regret=_number(sums.student_regret),
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
