"""docs/promises.md names tests that exist."""

import ast
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
NAMED = sorted(
    set(re.findall(r"`(\w+)`", (TESTS.parent / "docs" / "promises.md").read_text(encoding="utf-8")))
)
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
    page = (TESTS.parent / "docs" / "promises.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| ") and "| tests |" not in line]
    assert len(rows) > 20
    assert not [row for row in rows if not re.search(r"`\w+`", row.split(" | ")[1])]
