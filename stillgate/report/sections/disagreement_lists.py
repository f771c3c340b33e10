"""The inputs on which the student differs from the teacher."""

from collections.abc import Sequence

from monitor.drawing.markup import Markup, element, joined
from monitor.drawing.tables import Cell, card, folded, name, paragraph, soft, table
from monitor.drawing.words import NONE, moment, number, percent
from stillgate.report.disagreements import Disagreement
from stillgate.report.document import Report

SLICES_WITH_DISAGREEMENTS = 12


def disagreement_section(report: Report) -> Markup:
    found = report.disagreements
    if not found.worst:
        return paragraph("No disagreement lies in the exchange files in this time.")
    differ = found.pairs - found.agreements
    slices = list(found.by_slice.items())[:SLICES_WITH_DISAGREEMENTS]
    return joined(
        paragraph(
            f"{differ:,} of {found.pairs:,} pairs in the exchange files disagree. Worst is where the two distributions"
            " lie furthest apart (total variation, 0 to 1); of identical inputs one is shown. Texts are cut."
        ),
        card(
            element("h3", None, "Furthest apart"),
            _disagreement_table(found.worst),
        ),
        folded("The latest", _disagreement_table(found.latest)),
        *(folded(f"On {slice_name}", _disagreement_table(some)) for slice_name, some in slices),
    )


def _disagreement_table(found: Sequence[Disagreement]) -> Markup:
    columns = ("input", "teacher", "student", "label", "apart>", "exchange")
    return table(columns, map(_disagreement_row, found))


def _disagreement_row(one: Disagreement) -> Sequence[Cell]:
    shown = (
        element("bdi", {"class_": "quote"}, one.text)
        if one.text is not None
        else joined(soft("digest "), name(one.input_digest))
    )
    return (
        shown,
        joined(name(one.teacher_class), " ", soft(percent(one.teacher_probability, 0))),
        joined(name(one.student_class), " ", soft(percent(one.student_confidence, 0))),
        NONE if one.label is None else name(one.label),
        number(one.total_variation, 2),
        joined(name(f"{one.exchange_id}/{one.input_index}"), " ", soft(f"{moment(one.at_us)} UTC")),
    )
