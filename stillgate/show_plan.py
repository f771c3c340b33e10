"""How a plan looks in a terminal: what each slice can prove, how far a cheap student comes, and the verdict."""

from collections.abc import Iterator
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from stillgate.show import Document, percent

_STYLES = {"go": "green", "doubtful": "yellow", "not_provable": "yellow", "cannot_pass": "red"}


def show_plan(document: Document) -> RenderableType:
    verdict = document["feasibility"]
    measured: list[RenderableType] = []
    if document["slices"]:
        measured = [Text(), _slices(document["slices"]), Text()]
    return Group(
        Text.assemble(
            ("plan ", "bold"), document["task"], "  ", (verdict.replace("_", " "), _STYLES[verdict])
        ),
        *(Text(f"  {reason}", style="red") for reason in document["reasons"]),
        *(Text(f"  {line}") for line in _rows(document)),
        *measured,
        *(Text(f"  {line}") for line in (_lessons(document) if document["slices"] else ())),
        *(Text(f"  {line}") for line in (*document["notes"], *_times(document))),
    )


def _rows(document: Document) -> Iterator[str]:
    yield "rows: " + ", ".join(f"{name} {count}" for name, count in document["rows"].items())
    left_out = ", ".join(f"{name.replace('_', ' ')} {count}" for name, count in document["left_out"].items())
    yield f"left out: {left_out or 'nothing'}"
    ceiling = document["ceiling"]
    if ceiling["pairs"]:
        yield (
            f"the teacher agrees with itself in {ceiling['agreements']} of {ceiling['pairs']} repeated inputs"
            f" ({percent(ceiling['agreements'] / ceiling['pairs'])}): no student can do better"
        )
    else:
        yield "no input came twice: how far the teacher agrees with itself is not known"


def _slices(slices: list[dict[str, Any]]) -> RenderableType:
    table = Table(box=None, pad_edge=False)
    columns = ("slice", "bar", "gate rows", "asks for", "cheap student", "would need", "")
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number in (0, 6) else "right")
    for line in slices:
        need, reached = line["need"], line["need"]["reached"]
        share = percent(reached["agreements"] / reached["pairs"]) if reached["pairs"] else "-"
        verdict = Text(line["feasibility"].replace("_", " "), style=_STYLES[line["feasibility"]])
        table.add_row(
            need["slice"] + (" *" if need["critical"] else ""),
            percent(need["bar"], 0),
            str(need["gate_rows"]),
            percent(line["fidelity_needed"]),
            f"{share} of {reached['pairs']}",
            "-" if line["rows_needed"] is None else f"{line['rows_needed']} rows",
            verdict,
        )
    return table


def _lessons(document: Document) -> Iterator[str]:
    yield "* critical: the gate fails with it. What is not provable stays with the teacher."
    curve = [f"{point['rows']} rows {_share(point['reached'])}" for point in document["curve"]]
    yield f"cheap student on the frozen encoder: {', '.join(curve)}; neighbours {_share(document['neighbours'])}"
    rises = "more rows would help" if document["rises"] else "more rows alone will not help much"
    yield f"its curve {'still rises' if document['rises'] else 'is flat'}: {rises}"
    for line in document["slices"]:
        if line["feasibility"] != "go":
            yield line["reason"]


def _times(document: Document) -> Iterator[str]:
    for pace in document["candidates"]:
        rows = pace["batch_rows"] / pace["seconds_per_step"]
        cut = " (its budget; all epochs would take {:.0f} s)".format(pace["wanted_seconds"])
        over = cut if pace["wanted_seconds"] > pace["seconds"] else ""
        yield f"{pace['rung']}: {rows:.0f} rows/s here, {pace['seconds']:.0f} s of training{over}"


def _share(counts: Document) -> str:
    return percent(counts["agreements"] / counts["pairs"]) if counts["pairs"] else "-"
