"""How much of the traffic was compared, and where the rest went."""

from collections.abc import Iterator

from monitor.drawing.markup import Markup, element, joined
from monitor.drawing.tables import card, name, paragraph, soft, table
from monitor.drawing.words import count, percent, words
from stillgate.report.document import Report


def coverage_section(report: Report) -> Markup:
    coverage = report.coverage
    return joined(
        element(
            "div",
            {"class_": "figures"},
            _figure(percent(coverage.eligible_share), "of eligible traffic compared"),
            _figure(count(coverage.requests), "requests of the task recorded"),
            _figure(count(report.disagreements.pairs), "pairs in the exchange files"),
            _figure(count(coverage.lost), "requests lost before the record"),
        ),
        paragraph(
            "Eligible is a request that the student had to answer and the teacher answered readably, asked whatever"
            " the student said. Lost requests count as eligible, all of them: those of every run of a gateway that"
            " overlaps the time, whatever their task."
        ),
        element("div", {"class_": "cards"}, *_counts(report)),
        _gateways(report),
    )


def _figure(value: str, what: str) -> Markup:
    return element("div", None, element("b", None, value), soft(what))


def _counts(report: Report) -> Iterator[Markup]:
    coverage = report.coverage
    parts = (
        ("Who answered the callers", coverage.served_by),
        ("How the requests ended", coverage.outcomes),
        ("Why the teacher answered in the student's arm", coverage.fallbacks),
        ("Why an exchange can be no pair", coverage.unpaired),
        ("Lost before the record, by reason", coverage.lost_by_reason),
        ("Skipped by the shadow since the gateways started", coverage.skipped),
        ("Answers that gave no pair (every task, whole life)", coverage.unusable_inputs),
    )
    for title, counts in parts:
        if counts:
            rows = [(words(reason), count(number_)) for reason, number_ in counts.items()]
            yield card(table(("", "count>"), rows, title))


def _gateways(report: Report) -> Markup:
    rows = [
        (name(one.gateway), *map(count, (one.requests, one.recorded, sum(one.dropped.values()), one.pending)))
        for one in report.coverage.gateways
    ]
    caption = "requests = recorded + dropped + pending, whole life of each gateway's file, every task"
    return card(
        table(("gateway", "requests>", "recorded>", "dropped>", "pending>"), rows, caption),
    )
