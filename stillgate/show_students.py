"""How lists, differences and checks of students look in a terminal."""

from rich.console import Group, RenderableType
from rich.text import Text

from ledger.clock import iso
from stillgate.show import Document, percent, table_of, word


def show_list(document: Document) -> RenderableType:
    """The newest first."""
    table = table_of(
        "student", "task", "kind", "precision", "stage", "share>", "gate", "agreement>", "at least>", "registered",
        "parent", "job>",
    )  # fmt: skip
    for student in document["students"]:
        table.add_row(
            student["artifact"],
            student["task"],
            student["kind"],
            student["precision"] or "",
            word(student["stage"]),
            percent(student["share"], 0) if student["share"] else "",
            Text(student["problem"], style="red") if student["problem"] else word(student["gate_outcome"]),
            percent(student["agreement"]),
            percent(student["lower_bound"]),
            iso(student["registered_at_us"]),
            student["parent"] or "",
            str(student["job_id"]),
        )
    return table


def show_checks(document: Document) -> RenderableType:
    """One line each."""
    table = table_of("student", "verdict", "why")
    holds = "every file is as it was registered" + (", and signed" if document["signed"] else "")
    for student in document["students"]:
        table.add_row(
            student["artifact"],
            word("fail" if student["problem"] else "pass"),
            Text(student["problem"] or holds),
        )
    return table


def show_difference(document: Document) -> RenderableType:
    """Slices and criteria side by side, then every other value that differs."""
    slices = table_of("slice", f"{document['old']}>", f"{document['new']}>", "points>", "was", "is")
    for line in document["slices"]:
        change = line["change"]
        slices.add_row(
            Text(line["slice"]),
            percent(line["old"]),
            percent(line["new"]),
            "-" if change is None else f"{100 * change:+.1f}",
            word(line["old_outcome"] or "-"),
            word(line["new_outcome"] or "-"),
        )
    criteria = table_of("criterion", "what", "old>", "new>", "was", "is")
    for line in document["criteria"]:
        criteria.add_row(
            Text(line["criterion"].replace("_", " ")),
            Text(line["name"]),
            _number(line["old"]),
            _number(line["new"]),
            word(line["old_outcome"] or "-"),
            word(line["new_outcome"] or "-"),
        )
    changed = table_of("value", "old", "new")
    for path, (old, new) in document["changed"].items():
        changed.add_row(Text(path), Text(str(old)), Text(str(new)))
    old, new = document["served"]
    served = Text(f"may serve {percent(old)} of traffic, {percent(new)} by its own gate's rows")
    criteria_shown: list[RenderableType] = [Text(), criteria] if document["criteria"] else []
    return Group(slices, *criteria_shown, Text(), served, Text(), changed)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
