"""How a preview looks in a terminal: a table of thresholds with the certified one marked, and what follows from it."""

from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from stillgate.show import Document, table_of

HUNDREDTHS = 5  # a table lists one threshold of each such band; the document has all hundred
CERTIFIED = "green"


def show_preview(document: Document, since: str) -> RenderableType:
    """`since` is how far back was asked for."""
    rows = list(_listed(document["thresholds"]))
    parts: list[RenderableType] = [
        Text.assemble(
            (f"{document['artifact']}", "bold"),
            f", slice {document['slice']} of task {document['task']}: {document['pairs']:,} pairs of the last"
            f" {since}, {document['labelled']:,} of them labelled",
        ),
        *map(Text, _as_certified(document)),
    ]
    if rows:
        parts += [
            Text(),
            _thresholds(rows, len(document["slices"]) <= 1),
            Text(),
            _by_share(rows, "served", "served, % of all inputs"),
        ]
        parts += [Text(), _by_share(rows, "saved", "saved, % of what the teacher costs")]
        if rows[0]["at_shares"][0]["money"] is not None:
            parts += [Text(), _by_share(rows, "money", "saved on 1,000 inputs, in the currency of call_cost")]
        parts += [Text(), _latency(document["latency_seconds"])]
    if len(document["slices"]) > 1:
        parts += [Text(), _slices(document["slices"])]
    if document["cannot_say"]:
        parts += [Text(), Text("What this cannot say", style="bold")]
        parts += [Text(f"  - {why}", style="yellow") for why in document["cannot_say"]]
    return Group(*parts)


def _listed(rows: Sequence[Document]) -> Iterator[Document]:
    """The first of each band, and the certified one."""
    band = -1
    for row in rows:
        own = round(100 * row["threshold"]) // HUNDREDTHS
        if own > band or row["is_certified"]:
            yield row
        band = max(band, own)


def _as_certified(document: Document) -> Iterator[str]:
    served = document["as_certified"]
    if served is None:
        return
    whole = max(document["as_certified_at_shares"], key=lambda at: at["share"])
    money = whole["money"]
    yield (
        f"With every threshold that holds, and {100 * whole['share']:g} % of the traffic in its arm, it would have"
        f" served {_said(whole['served'])} % of the inputs"
    )
    told = f" ({_said(money, 1, 2)} on 1,000 inputs)" if money else ""
    yield (
        f"and saved {_said(whole['saved'])} % of what the teacher costs{told}; of what it served, it would have"
        f" differed from the teacher in {_said(served['disagreement'])} %."
    )


def _said(one: Document, scale: float = 100, digits: int = 1) -> str:
    """In a sentence."""
    if one["value"] is not None or one["low"] is None or one["high"] is None:
        return _amount(one, scale, digits)
    return f"between {scale * one['low']:.{digits}f} and {scale * one['high']:.{digits}f}"


def _thresholds(rows: Sequence[Document], is_alone: bool) -> Table:
    """`is_alone`: no other slice withholds anything of what a threshold of this one accepts."""
    names = ("coverage", "disagreement", "joint_disagreement", "accuracy", "teacher_accuracy")
    table = table_of(
        "serves from>", "", "coverage, %>", "differs from teacher, %>", "the same, of all, %>", "accuracy, %>",
        "teacher's, %>",
    )  # fmt: skip
    for row in rows:
        table.add_row(_threshold(row), _mark(row), *(_amount(row[name]) for name in names), style=_style(row))
    table.caption = (
        "of all inputs; of those served; served and different, of all inputs; of those served and labelled."
        " In brackets: 95 %, at every look"
    )
    if not is_alone:
        table.caption += "\nby the threshold of this slice alone: those of other slices may withhold more"
    table.caption_justify = "left"
    return table


def _by_share(rows: Sequence[Document], name: str, title: str) -> Table:
    shares = [at["share"] for at in rows[0]["at_shares"]]
    table = table_of("serves from>", "", *(f"{100 * share:g} % of traffic>" for share in shares), title=title)
    scale, digits = (1, 3) if name == "money" else (100, 1)
    for row in rows:
        amounts = [_amount(at[name], scale, digits) for at in row["at_shares"]]
        table.add_row(_threshold(row), _mark(row), *amounts, style=_style(row))
    return table


def _latency(sides: Document) -> Table:
    names = list(sides["student"])
    table = table_of("latency, ms", "answers>", *(f"{name}>" for name in names))
    for side, quantiles in sides.items():
        count = quantiles[names[0]]["count"]
        table.add_row(side, f"{count:,}", *(_amount(quantiles[name], 1000, 1) for name in names))
    table.caption = "of all answers, whatever their confidence; the student's as it answers in shadow"
    table.caption_justify = "left"
    return table


def _slices(slices: Sequence[Document]) -> Table:
    table = table_of(
        "slice", "pairs>", "serves from>", "coverage, %>", "differs from teacher, %>", "accuracy, %>",
        "teacher's, %>", title="every slice where its certificate holds",
    )  # fmt: skip
    names = ("coverage", "disagreement", "accuracy", "teacher_accuracy")
    for line in slices:
        row = line["certified"]
        if row is None:
            table.add_row(Text(line["slice"]), f"{line['pairs']:,}", "teacher")
        else:
            cells = [_amount(row[name]) for name in names]
            table.add_row(Text(line["slice"]), f"{line['pairs']:,}", _threshold(row), *cells)
    return table


def _threshold(row: Document) -> str:
    return f"{row['threshold']:.2f}"


def _mark(row: Document) -> str:
    return "<- certified" if row["is_certified"] else ""


def _style(row: Document) -> str:
    return CERTIFIED if row["is_certified"] else ""


def _amount(one: Document, scale: float = 100, digits: int = 1) -> str:
    """With its bounds in brackets; a bound that is not known is open."""
    if one["low"] is None and one["high"] is None:
        return "-"
    low, high = ("" if one[end] is None else f"{scale * one[end]:.{digits}f}" for end in ("low", "high"))
    value = "" if one["value"] is None else f"{scale * one['value']:.{digits}f} "
    return f"{value}({low}-{high})"
