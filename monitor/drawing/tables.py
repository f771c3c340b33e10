"""HTML tables with a head and rows of cells."""

from collections.abc import Iterable, Sequence

from monitor.drawing.markup import Markup, element, joined
from monitor.drawing.words import between

Cell = str | Markup

VERDICT_KIND = {"pass": "good", "fail": "bad", "inconclusive": "wait"}  # verdict -> how its pill looks


def table(columns: Sequence[str], rows: Iterable[Sequence[Cell]], caption: str | None = None) -> Markup:
    """Columns that end in > hold numbers. It scrolls sideways by itself where the page is narrow."""
    kinds = ["number" if column.endswith(">") else None for column in columns]
    head = [
        element("th", {"scope": "col", "class_": kind}, column.removesuffix(">"))
        for column, kind in zip(columns, kinds, strict=True)
    ]
    body = [
        element(
            "tr",
            None,
            *(element("td", {"class_": kind}, cell) for cell, kind in zip(row, kinds, strict=True)),
        )
        for row in rows
    ]
    drawn = element(
        "table",
        None,
        element("caption", None, caption) if caption else None,
        element("thead", None, element("tr", None, *head)),
        element("tbody", None, *body),
    )
    return element("div", {"class_": "scroll", "tabindex": 0, "role": "region", "aria_label": caption}, drawn)


def folded(summary: str, *content: Markup) -> Markup:
    """Closed until it is asked for; left out on paper."""
    return element("details", None, element("summary", None, summary), *content)


def pill(word: str, kind: str) -> Markup:
    return element("span", {"class_": f"pill {kind}"}, word)


def name(given: str) -> Markup:
    """A name of a slice, a student or a class: isolated, so that no script of its letters reorders the line."""
    return element("bdi", {"class_": "name"}, given)


def bounded(value: Cell, low: float | None, high: float | None) -> Markup:
    """A number with its interval below it: beside it, a table of many numbers would be wider than the page."""
    if low is None and high is None:
        return joined(value)
    return joined(value, element("span", {"class_": "interval"}, between(low, high)))


def soft(given: str) -> Markup:
    return element("span", {"class_": "soft"}, given)


def paragraph(*parts: str) -> Markup:
    return element("p", None, *parts)


def card(*content: Markup) -> Markup:
    return element("div", {"class_": "card"}, *content)
