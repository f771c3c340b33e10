"""What a part hands back: tables, and floors with what was measured. Rendered as text and as Markdown."""

from collections.abc import Sequence
from dataclasses import dataclass

MISSED = "MISSED"


@dataclass(frozen=True, slots=True)
class Table:
    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Floor:
    """A promise about a figure. A stretch may be missed; a floor that was not measured does not hold."""

    what: str
    measured: float | None
    limit: float
    at_least: bool = False
    stretch: bool = False

    @property
    def holds(self) -> bool:
        if self.measured is None:
            return False
        return self.measured >= self.limit if self.at_least else self.measured <= self.limit

    @property
    def breaks(self) -> bool:
        return not self.holds and not self.stretch


@dataclass(frozen=True, slots=True)
class Report:
    part: str
    tables: tuple[Table, ...]
    floors: tuple[Floor, ...]
    seconds: float = 0.0
    said: str = ""  # what a program of its own printed

    @property
    def holds(self) -> bool:
        return not any(floor.breaks for floor in self.floors)

    def all_tables(self) -> tuple[Table, ...]:
        """Its tables, and that of its floors if it has any."""
        return (*self.tables, *([floor_table(self.floors)] if self.floors else []))


def floor_table(floors: Sequence[Floor]) -> Table:
    header = ("", "measured", "limit", "")
    return Table("Floors and stretches", header, tuple(_floor_row(floor) for floor in floors))


def text(table: Table) -> str:
    """Columns of equal width; the first to the left, the others to the right."""
    cells = [table.header, *table.rows]
    widths = [max(len(row[column]) for row in cells) for column in range(len(table.header))]
    lines = [
        "  ".join(
            value.rjust(width) if column else value.ljust(width)
            for column, (value, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]
    return "\n".join([table.title, "-" * max(map(len, lines)), *lines, *([table.note] if table.note else [])])


def markdown(table: Table) -> str:
    rule = "|---|" + "---:|" * (len(table.header) - 1)
    rows = ["| " + " | ".join(row) + " |" for row in table.rows]
    lines = [f"**{table.title}**", "", "| " + " | ".join(table.header) + " |", rule, *rows]
    return "\n".join([*lines, *(["", table.note] if table.note else [])])


def _floor_row(floor: Floor) -> tuple[str, ...]:
    measured = "not measured" if floor.measured is None else f"{floor.measured:.3g}"
    verdict = "holds" if floor.holds else "missed (stretch)" if floor.stretch else MISSED
    bound = "at least" if floor.at_least else "at most"
    kind = "stretch" if floor.stretch else "floor"
    return f"{kind}: {floor.what}", measured, f"{bound} {floor.limit:g}", verdict
