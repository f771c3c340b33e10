"""docs/performance.md: the tables stand between two comments each, and are replaced by a run with --write."""

import re
from collections.abc import Sequence
from pathlib import Path

from benchmarks.machine import Circumstances
from benchmarks.report import Report, markdown


class NoPlace(Exception):
    """The page has no place for the tables of a part."""


def write(page: Path, where: Circumstances, reports: Sequence[Report]) -> None:
    """Replace what each part said before. Raises NoPlace."""
    contents = page.read_text(encoding="utf-8")
    for report in reports:
        contents = replaced(contents, report.part, _section(where, report))
    page.write_text(contents, encoding="utf-8")


def replaced(contents: str, part: str, section: str) -> str:
    """The page with another text between `<!-- part -->` and `<!-- /part -->`."""
    opening, closing = f"<!-- {part} -->", f"<!-- /{part} -->"
    found = re.search(f"{re.escape(opening)}.*?{re.escape(closing)}", contents, re.DOTALL)
    if found is None:
        raise NoPlace(
            f"the page has no {opening} ... {closing}; add the two comments where the tables belong"
        )
    return f"{contents[: found.start()]}{opening}\n{section}\n{closing}{contents[found.end() :]}"


def _section(where: Circumstances, report: Report) -> str:
    said = [f"```\n{report.said.strip()}\n```"] if report.said.strip() else []
    return "\n\n".join([f"*{where.line()}*", *said, *(markdown(table) for table in report.all_tables())])
