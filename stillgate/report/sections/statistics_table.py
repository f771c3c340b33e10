"""How well calibrated and how far from the teacher each slice is, beside what few answers alone would show."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from stillgate.report.document import Report
from stillgate.report.markup import NOTHING, Markup, element, joined
from stillgate.report.tables import Cell, card, name, paragraph, table
from stillgate.report.words import between, count, number

SIDES = (("calibration", "the teacher"), ("label_calibration", "true labels"))


def statistics_section(report: Report) -> Markup:
    shown = [(line.report.slice, line.statistics) for line in report.slices if line.statistics is not None]
    if not shown:
        return paragraph("There are no pairs in this time.")
    labelled = [(slice_name, found) for slice_name, found in shown if found["label_calibration"]["answers"]]
    return joined(
        paragraph(
            "An error below its noise says nothing: so few answers show as much of a calibrated student. A temperature"
            " above 1 is a student that is too sure, below 1 one that is not sure enough."
        ),
        card(_calibration(shown, *SIDES[0])),
        card(_calibration(labelled, *SIDES[1])) if labelled else NOTHING,
        card(_distances(shown)),
    )


def _calibration(shown: Sequence[tuple[str, Mapping[str, Any]]], key: str, against: str) -> Markup:
    columns = (
        "slice", "answers>", "calibration error>", "noise>", "debiased>", "smooth>", "greatest gap>", "overconfidence>",
        "temperature>",
    )  # fmt: skip
    rows = (_calibration_row(slice_name, found[key]) for slice_name, found in shown)
    return table(columns, rows, f"Calibration against {against}")


def _calibration_row(slice_name: str, found: Mapping[str, Any]) -> Sequence[Cell]:
    error, noise = found["error"], found["noise"]
    is_wrong = error is not None and noise is not None and error > noise
    told = number(error)
    figures = ("noise", "error_debiased", "error_smooth", "error_greatest", "overconfidence")
    return (
        name(slice_name),
        count(found["answers"]),
        element("span", {"class_": "below"}, told) if is_wrong else told,
        *(number(found[figure]) for figure in figures),
        number(found["temperature"], 2),
    )


def _distances(shown: Sequence[tuple[str, Mapping[str, Any]]]) -> Markup:
    columns = (
        "slice", "divergence, bits>", "total variation>", "KL, nats>", "Brier>", "student p99, ms>", "95 % interval>",
        "teacher p99, ms>", "95 % interval>",
    )  # fmt: skip
    return table(columns, map(_distance_row, shown), "Distance from the teacher, and latency")


def _distance_row(of: tuple[str, Mapping[str, Any]]) -> Sequence[Cell]:
    slice_name, found = of
    figures = ("divergence_bits", "total_variation", "kl_nats", "brier")
    return (
        name(slice_name),
        *(number(found["divergence"][figure]) for figure in figures),
        *(cell for side in ("student", "teacher") for cell in _slowest(found["latency_seconds"][side])),
    )


def _slowest(latency: Mapping[str, Any]) -> Iterator[str]:
    value, low, high = (
        None if latency[key] is None else 1000 * latency[key] for key in ("p99", "p99_low", "p99_high")
    )
    yield number(value, 1)
    yield between(low, high)
