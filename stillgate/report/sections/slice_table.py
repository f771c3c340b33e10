"""The slice table and the reason of each verdict."""

from collections.abc import Iterator, Sequence

from monitor.drawing.markup import NOTHING, Markup, element, joined
from monitor.drawing.tables import VERDICT_KIND, Cell, bounded, card, folded, name, paragraph, pill, table
from monitor.drawing.words import NONE, count, percent
from monitor.live_verdict import NOT_JUDGED
from stillgate.report.document import SLICES_SHOWN, Report
from stillgate.report.slices import SliceLine
from stillgate.show import labels_said

VERDICT_COLUMNS = ("slice", "judged by", "verdict", "reason")


def slice_section(report: Report) -> Markup:
    if not report.slices:
        return paragraph("There are no pairs in this time, so no slice can be measured.")
    columns = (
        "slice", "pairs>", "fidelity>", "bar>", "verdict", "accuracy>", "teacher's>", "labels>", "serves from>",
        "share above>", "served>", "compared>",
    )  # fmt: skip
    shown = report.slices[:SLICES_SHOWN]
    caption = (
        "The overall slice first, then slices with alarms, failing, critical, and large ones. * is critical."
        " Below a share stands its 95 % interval."
    )
    left = len(report.slices) - len(shown)
    return joined(
        card(table(columns, map(_slice_row, shown), caption)),
        paragraph(f"{left:,} more slices are left out here; the JSON report has all {len(report.slices):,}.")
        if left
        else NOTHING,
        folded(
            "Why each verdict", table(VERDICT_COLUMNS, (row for line in shown for row in _verdict_rows(line)))
        ),
    )


def _slice_row(line: SliceLine) -> Sequence[Cell]:
    report, above = line.report, line.above_threshold
    return (
        joined(
            name(report.slice + (" *" if report.critical else "")),
            joined(" ", pill(f"{line.alarms} alarm{'s' * (line.alarms > 1)}", "bad"))
            if line.alarms
            else NOTHING,
        ),
        count(report.pairs),
        bounded(_fidelity(line), report.fidelity_low, report.fidelity_high),
        percent(report.bar, 0),
        _verdict(line),
        bounded(percent(report.accuracy), report.accuracy_low, report.accuracy_high),
        bounded(percent(report.teacher_accuracy), report.teacher_accuracy_low, report.teacher_accuracy_high),
        labels_said(report.labelled, report.effective_labels),
        "teacher" if line.threshold is None else f"{line.threshold:.2f}",
        bounded(percent(above.value), above.low, above.high) if above else NONE,
        percent(line.served_share),
        percent(line.coverage_share),
    )


def _fidelity(line: SliceLine) -> Cell:
    report = line.report
    is_below = report.bar is not None and report.fidelity is not None and report.fidelity < report.bar
    return (
        element("span", {"class_": "below"}, percent(report.fidelity))
        if is_below
        else percent(report.fidelity)
    )


def _verdict(line: SliceLine) -> Markup:
    is_judged = any(one.outcome != NOT_JUDGED for one in line.criteria)
    return pill(line.verdict, VERDICT_KIND[line.verdict]) if is_judged else pill("no bar", "")


def _verdict_rows(line: SliceLine) -> Iterator[Sequence[Cell]]:
    """One for each criterion: none stands for another."""
    for one in line.criteria:
        told = (
            pill("not judged", "")
            if one.outcome == NOT_JUDGED
            else pill(one.outcome, VERDICT_KIND[one.outcome])
        )
        yield name(line.report.slice), one.criterion, told, one.reason
