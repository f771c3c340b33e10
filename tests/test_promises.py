"""docs/promises.md and docs/statistics.md name tests that exist."""

import ast
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
DOCS = TESTS.parent / "docs"
PROMISES = (DOCS / "promises.md").read_text(encoding="utf-8")
STATISTICS = (DOCS / "statistics.md").read_text(encoding="utf-8")
NAMED = sorted({*re.findall(r"`(\w+)`", PROMISES), *re.findall(r"`(test_\w+)`", STATISTICS)})
FUNCTIONS = {
    node.name
    for path in TESTS.rglob("*.py")
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
}


@pytest.mark.parametrize("name", NAMED)
def test_promise_has_its_test(name: str) -> None:
    """Each name in the tables is a test, or a check that every row ends with."""
    assert name in FUNCTIONS


def test_every_promise_names_a_test() -> None:
    """No row of the tables stands without one."""
    rows = [line for line in PROMISES.splitlines() if line.startswith("| ") and "| tests |" not in line]
    assert len(rows) > 20
    assert not [row for row in rows if not re.search(r"`\w+`", row.split(" | ")[1])]


def test_every_known_mistake_names_a_test() -> None:
    """E1 to E11, none left out."""
    rows = re.findall(r"^\| E(\d+) \|.*\| (`test_.*`) \|$", STATISTICS, re.MULTILINE)
    assert [int(number) for number, _ in rows] == list(range(1, 12))
