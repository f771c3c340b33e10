"""How well calibrated and how far from the teacher each slice is, beside what few answers alone would show."""

from collections.abc import Mapping, Sequence
from typing import Any

from monitor.drawing.markup import NOTHING, Markup, element, joined
from monitor.drawing.tables import Cell, bounded, card, name, paragraph, table
from monitor.drawing.words import count, number, words
from stillgate.report.document import Report

OF_INPUTS = (
    "words", "embedding_region", "embedding_distance", "student_classes", "student_confidence", "teacher_classes",
)  # fmt: skip
SURELY = 0.001  # a p-value
SIDES = (("calibration", "the teacher"), ("label_calibration", "true labels"))


def statistics_section(report: Report) -> Markup:
    shown = [(line.report.slice, line.statistics) for line in report.slices if line.statistics is not None]
    if not shown:
        return paragraph("There are no pairs in this time.")
    labelled = [(slice_name, found) for slice_name, found in shown if found["label_calibration"]["answers"]]
    held = [(slice_name, found) for slice_name, found in shown if found["shift"] is not None]
    return joined(
        paragraph(
            "An error below its noise says nothing: so few answers show as much of a calibrated student. A temperature"
            " above 1 is a student that is too sure, below 1 one that is not sure enough."
        ),
        card(_calibration(shown, *SIDES[0])),
        card(_calibration(labelled, *SIDES[1])) if labelled else NOTHING,
        card(_distances(shown)),
        card(_inputs(held)) if held else NOTHING,
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
        "slice", "divergence, bits>", "total variation>", "KL, nats>", "Brier>", "student p99, ms>", "teacher p99, ms>",
    )  # fmt: skip
    caption = "Distance from the teacher, and latency with its 95 % interval below it"
    return table(columns, map(_distance_row, shown), caption)


def _distance_row(of: tuple[str, Mapping[str, Any]]) -> Sequence[Cell]:
    slice_name, found = of
    figures = ("divergence_bits", "total_variation", "kl_nats", "brier")
    return (
        name(slice_name),
        *(number(found["divergence"][figure]) for figure in figures),
        *(_slowest(found["latency_seconds"][side]) for side in ("student", "teacher")),
    )


def _slowest(latency: Mapping[str, Any]) -> Markup:
    value, low, high = (
        None if latency[key] is None else 1000 * latency[key] for key in ("p99", "p99_low", "p99_high")
    )
    return bounded(number(value, 1), low, high)


def _inputs(shown: Sequence[tuple[str, Mapping[str, Any]]]) -> Markup:
    columns = ("slice", *(f"{words(feature)}>" for feature in OF_INPUTS))
    caption = (
        "How far the input lies from the rows of the student's gate: population stability index, below it what chance"
        " alone makes of it on average"
    )
    return table(columns, map(_input_row, shown), caption)


def _input_row(of: tuple[str, Mapping[str, Any]]) -> Sequence[Cell]:
    slice_name, found = of
    return (name(slice_name), *(_moved(found["shift"][feature]) for feature in OF_INPUTS))


def _moved(shift: Mapping[str, float | None]) -> Markup:
    """Red where chance alone would show so much in one of a thousand looks at most."""
    stability, noise, p_value = (
        shift[key] for key in ("population_stability", "population_stability_noise", "p_value")
    )
    told = number(stability)
    by_chance = p_value is None or p_value > SURELY
    value = told if by_chance else element("span", {"class_": "below"}, told)
    expected = None if noise is None else element("span", {"class_": "interval"}, number(noise))
    return joined(value, expected)
