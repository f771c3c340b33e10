"""The slice table and the reason of each verdict."""

from collections.abc import Sequence

from stillgate.report.document import SLICES_SHOWN, Report
from stillgate.report.markup import NOTHING, Markup, element, joined
from stillgate.report.slices import SliceLine
from stillgate.report.tables import VERDICT_KIND, Cell, card, folded, name, paragraph, pill, table
from stillgate.report.words import count, number, percent
from stillgate.show import labels_said


def slice_section(report: Report) -> Markup:
    if not report.slices:
        return paragraph("There are no pairs in this time, so no slice can be measured.")
    columns = (
        "slice", "pairs>", "fidelity>", "95 % interval>", "bar>", "verdict", "accuracy>", "teacher's>", "labels>",
        "calibration error>", "divergence, bits>", "serves from>", "share above>", "served>", "compared>",
    )  # fmt: skip
    shown = report.slices[:SLICES_SHOWN]
    caption = (
        "The overall slice first, then slices with alarms, failing, critical, and large ones. * is critical."
    )
    left = len(report.slices) - len(shown)
    return joined(
        card(table(columns, map(_slice_row, shown), caption)),
        paragraph(f"{left:,} more slices are left out here; the JSON report has all {len(report.slices):,}.")
        if left
        else NOTHING,
        folded("Why each verdict", table(("slice", "verdict", "reason"), map(_verdict_row, shown))),
    )


def _slice_row(line: SliceLine) -> Sequence[Cell]:
    report = line.report
    return (
        joined(
            name(report.slice + (" *" if report.critical else "")),
            joined(" ", pill(f"{line.alarms} alarm{'s' * (line.alarms > 1)}", "bad"))
            if line.alarms
            else NOTHING,
        ),
        count(report.pairs),
        _fidelity(line),
        f"{number(report.fidelity_low)}-{number(report.fidelity_high)}",
        percent(report.bar, 0),
        pill("no bar", "") if report.bar is None else pill(line.verdict, VERDICT_KIND[line.verdict]),
        percent(report.accuracy),
        percent(report.teacher_accuracy),
        labels_said(report.labelled, report.effective_labels),
        number(report.calibration_error),
        number(report.divergence_bits),
        "teacher" if line.threshold is None else f"{line.threshold:.2f}",
        percent(line.above_threshold_share),
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


def _verdict_row(line: SliceLine) -> Sequence[Cell]:
    return name(line.report.slice), pill(line.verdict, VERDICT_KIND[line.verdict]), line.reason
