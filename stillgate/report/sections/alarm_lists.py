"""Alarms with what their receipts say."""

from collections.abc import Mapping, Sequence
from typing import Any

from monitor.drawing.markup import NOTHING, Markup, joined
from monitor.drawing.tables import Cell, card, folded, name, paragraph, pill, soft, table
from monitor.drawing.words import NONE, moment, number, percent, sentence, words
from stillgate.report.document import Report
from stillgate.report.history import AlarmLine

SHOWN_RECEIPTS = 50


def alarms_section(report: Report) -> Markup:
    if not report.alarms:
        return paragraph("No alarm fired in this time.")
    shown = report.alarms[-SHOWN_RECEIPTS:]
    left = report.alarms_in_period - len(shown)
    columns = (
        "alarm>",
        "at, UTC",
        "slice",
        "student",
        "watched",
        "mean loss>",
        "null>",
        "log wealth>",
        "needed>",
        "replay",
        "led to",
    )
    return joined(
        paragraph(
            "An alarm fires when the log wealth of a slice's detector reaches what the false-alarm budget demands. Null"
            " is the mean loss that was taken for normal: the share that disagrees, or the share of true labels where"
            " the teacher alone was right. Replay computes the alarm again from its receipt."
        ),
        paragraph(f"{left:,} older alarms are left out here.") if left else NOTHING,
        card(table(columns, map(_alarm_row, shown))),
        paragraph(
            "What moved compares the inputs, the teacher, the student and the path of exchanges since the change with"
            " those before it. Nothing may have moved: then the student decays on the inputs it always had."
        ),
        card(table(("alarm>", "slice", "what moved", "to train a successor on"), map(_cause_row, shown))),
        folded(
            "Receipts",
            table(("alarm>", "null from", "change began, UTC", "decision"), map(_receipt_row, shown)),
        ),
    )


def _alarm_row(alarm: AlarmLine) -> Sequence[Cell]:
    receipt = alarm.receipt
    return (
        str(alarm.id),
        moment(alarm.at_us),
        name(alarm.slice),
        name(alarm.artifact),
        words(alarm.harm),
        _mean_loss(receipt),
        _percent_of(receipt, "m0"),
        _number_of(receipt, "log_wealth"),
        _number_of(receipt, "log_threshold"),
        _replay(alarm),
        words(alarm.decision) + (f", job {alarm.job_id}" if alarm.job_id else ""),
    )


def _mean_loss(receipt: Mapping[str, object]) -> str:
    inputs, mean = receipt.get("inputs"), receipt.get("mean_loss")
    if not isinstance(inputs, int) or not isinstance(mean, float):
        return NONE
    return f"{percent(mean)} of {inputs:,}"


def _number_of(receipt: Mapping[str, object], key: str) -> str:
    value = receipt.get(key)
    return number(float(value), 1) if isinstance(value, int | float) else NONE


def _percent_of(receipt: Mapping[str, object], key: str) -> str:
    value = receipt.get(key)
    return percent(float(value)) if isinstance(value, int | float) else NONE


def _replay(alarm: AlarmLine) -> Cell:
    if alarm.replay is None:
        return soft("not possible")
    same = alarm.replay.is_same
    return pill("the same" if same else "differs", "good" if same else "bad")


def _cause_row(alarm: AlarmLine) -> Sequence[Cell]:
    cause: Mapping[str, Any] = alarm.cause or {}
    window = cause.get("window") or {}
    summary, rows = cause.get("summary"), window.get("sentence")
    return (
        str(alarm.id),
        name(alarm.slice),
        sentence(summary) if summary else NONE,
        sentence(rows) if rows else NONE,
    )


def _receipt_row(alarm: AlarmLine) -> Sequence[Cell]:
    receipt = alarm.receipt
    change = receipt.get("change_us")
    return (
        str(alarm.id),
        str(receipt.get("null_reason") or NONE),
        moment(change if isinstance(change, int) else None),
        alarm.decision_reason or NONE,
    )
