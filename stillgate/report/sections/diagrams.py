"""Reliability diagrams and risk-coverage curves, each with its table."""

from collections.abc import Iterator, Sequence

from monitor.drawing.charts import (
    certified_point,
    reliability_chart,
    risk_chart,
)
from monitor.drawing.curves import BinPoint, SliceCurves
from monitor.drawing.markup import Markup, element, joined
from monitor.drawing.tables import card, folded, name, paragraph, table
from monitor.drawing.words import count, number, percent
from stillgate.report.document import Report


def calibration_section(report: Report) -> Markup:
    drawn = [one for place, curves in enumerate(report.curves) for one in _reliability(place, curves)]
    if not drawn:
        return paragraph("There are no answers in this time to compare with the student's confidence.")
    return joined(
        paragraph(
            "A calibrated student lies on the dashed diagonal. The shaded band of each bin is where it would lie nine"
            " times out of ten with so few answers, so a point inside its band shows nothing wrong. Below the diagonal"
            " the student is surer than it should be."
        ),
        element("div", {"class_": "cards"}, *drawn),
    )


def _reliability(place: int, curves: SliceCurves) -> Iterator[Markup]:
    for against, bins, number_ in (
        ("the teacher", curves.reliability, curves.pairs),
        ("true labels", curves.label_reliability, curves.labelled),
    ):
        if bins:
            chart = f"reliability-{place}-{'teacher' if against == 'the teacher' else 'labels'}"
            yield card(
                element("h3", None, name(curves.slice), f" against {against}, {number_:,} answers"),
                reliability_chart(chart, curves.slice, against, bins),
                folded("Every bin", _bins_table(bins)),
            )


def _bins_table(bins: Sequence[BinPoint]) -> Markup:
    rows = [
        (
            f"{one.low:.2f}-{one.high:.2f}",
            count(one.count),
            number(one.mean_confidence),
            number(one.right_share),
            f"{number(one.band_low)}-{number(one.band_high)}",
        )
        for one in bins
    ]
    return table(("bin", "answers>", "confidence>", "right>", "90 % band>"), rows)


def risk_section(report: Report) -> Markup:
    drawn = [_risk_card(place, curves) for place, curves in enumerate(report.curves) if curves.risk_coverage]
    if not drawn:
        return paragraph("There are no pairs in this time.")
    return joined(
        paragraph(
            "From left to right the student would serve more and more inputs, the most confident first; the line is how"
            " often those would differ from the teacher, shaded by its 95 % interval. Green is the threshold that the"
            " certificate allows; it was proven on locked rows before this time, the line is what was seen in it. A"
            " slice without one stays with the teacher."
        ),
        element("div", {"class_": "cards"}, *drawn),
    )


def _risk_card(place: int, curves: SliceCurves) -> Markup:
    rows = [
        (f"{one.threshold:.2f}", count(one.accepted), percent(one.coverage_share),
         f"{number(one.coverage_low_share)}-{number(one.coverage_high_share)}", count(one.disagreements),
         percent(one.risk_share), f"{number(one.risk_low_share)}-{number(one.risk_high_share)}")
        for one in curves.risk_coverage
    ]  # fmt: skip
    columns = (
        "from confidence",
        "served>",
        "coverage>",
        "95 % interval>",
        "disagree>",
        "risk>",
        "95 % interval>",
    )
    return card(
        element("h3", None, name(curves.slice)),
        risk_chart(f"risk-{place}", curves),
        element("p", {"class_": "soft"}, _certified_said(curves)),
        folded("Every threshold", table(columns, rows)),
    )


def _certified_said(curves: SliceCurves) -> str:
    point = certified_point(curves)
    if curves.threshold is None:
        return "Not certified: the teacher answers."
    if point is None:
        return f"Certified from {curves.threshold:.2f}; no answer of this time was that confident."
    served, differ = percent(point.coverage_share), percent(point.risk_share)
    most = curves.max_disagreement
    more = (
        f", more than the {percent(most, 0)} allowed" if most is not None and point.risk_share > most else ""
    )
    return f"From {curves.threshold:.2f}: {served} would be served, {differ} of them differ{more}."
