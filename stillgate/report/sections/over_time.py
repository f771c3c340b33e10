"""Charts over time with a table beneath each."""

from collections.abc import Iterator, Sequence

from monitor.drawing.markup import Markup, element, joined
from monitor.drawing.tables import card, folded, name, paragraph, table
from monitor.drawing.words import count, length, moment, number, percent
from stillgate.report.course import Line, Mark
from stillgate.report.document import Report
from stillgate.report.time_charts import (
    divergence_chart,
    fidelity_chart,
)


def time_section(report: Report) -> Markup:
    course = report.course
    overall = [line for line in course.overall if line.points]
    if not overall:
        return paragraph("No window with pairs is kept for this time.")
    title = "Fidelity on all traffic"
    return joined(
        paragraph(
            f"Each point holds the pairs of {length(course.bin_seconds)}. Red triangles are alarms, S is a change of"
            " stage, E the first exchange with another version of the teacher. Shaded is the 95 % interval of each"
            " point."
        ),
        card(
            element("h3", None, title),
            _legend(overall),
            element("div", {"class_": "scroll"}, fidelity_chart("fidelity", title, course, overall)),
            element("h3", None, "Divergence on all traffic"),
            element(
                "div",
                {"class_": "scroll"},
                divergence_chart("divergence", "Jensen-Shannon divergence on all traffic", course, overall),
            ),
            folded("Every point", *(_points_table(line) for line in overall)),
            folded("What happened", _marks_table(course.marks)),
        ),
        element("div", {"class_": "cards two"}, *_slices_in_time(report)),
    )


def _legend(lines: Sequence[Line]) -> Markup:
    keys = [
        element("span", None, element("i", {"class_": f"key-{place}"}), name(line.artifact))
        for place, line in enumerate(lines)
    ]
    return element("p", {"class_": "legend"}, *keys)


def _slices_in_time(report: Report) -> Iterator[Markup]:
    for place, line in enumerate(report.course.slices):
        if line.points:
            title = f"Fidelity of {line.artifact} on {line.slice}"
            yield card(
                element("h3", None, name(line.slice)),
                fidelity_chart(f"fidelity-{place}", title, report.course, [line], wide=False),
                folded("Every point", _points_table(line)),
            )


def _points_table(line: Line) -> Markup:
    rows = [
        (
            moment(one.start_us),
            count(one.pairs),
            percent(one.fidelity),
            f"{number(one.fidelity_low)}-{number(one.fidelity_high)}",
            number(one.divergence_bits),
        )
        for one in line.points
    ]
    columns = ("from, UTC", "pairs>", "fidelity>", "95 % interval>", "divergence, bits>")
    return table(columns, rows, f"{line.artifact} on {line.slice}")


def _marks_table(marks: Sequence[Mark]) -> Markup:
    return table(("at, UTC", "", "what"), [(moment(mark.at_us), mark.kind, mark.text) for mark in marks])
