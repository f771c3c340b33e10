"""The page that `make reliability` writes."""

import json
import subprocess
import sys
from pathlib import Path

from tests.reliability.table import document

LINE = {
    "row": "F15",
    "test": "tests/reliability/test_stops.py::test_killed[3]",
    "case": "SIGKILL, again | and again.",
    "size": "3 kills",
    "seed": 7,
    "figures": {"requests": 10, "answered": 9, "dropped": 1, "wrong": 0, "unaccounted": 0, "window_ms": 5.5},
    "outcome": "passed",
    "seconds": 60.0,
}


def test_rows_stand_in_order_with_their_figures() -> None:
    """Load before faults before input; sums above; a bar in a sentence breaks no table."""
    load = LINE | {"row": "L2", "outcome": "failed"}
    page = document([LINE, load, LINE | {"row": ""}], "2 cores; 2026-11-22; commit abc1234")
    assert page.index("| L2 |") < page.index("| F15 |")
    assert "3 tests in 3 minutes: 1 failed, 0 not run." in page
    assert "20 requests, 18 answered, 2 dropped, 0 wrong, 0 unaccounted" in page
    assert (
        "| F15 | SIGKILL, again / and again. (3) | 3 kills | passed | 9 / 10 | 1 | 0 | 0 |  | window_ms 5.5 | 7 |"
        in page
    )


def test_plugin_writes_a_line_for_each_test(tmp_path: Path) -> None:
    """With its row, seed, figures and outcome; a failing one, too."""
    (tmp_path / "test_it.py").write_text(
        "import pytest\n"
        "@pytest.mark.row('F1')\n"
        "def test_one(request):\n    'One sentence.'\n    request.node.user_properties.append(('seed', 3))\n"
        "def test_two():\n    assert False\n"
    )
    results = tmp_path / "results.jsonl"
    command = [sys.executable, "-m", "pytest", "-p", "tests.reliability.reporting", "-p", "no:cacheprovider"]
    environment = {"STILLGATE_RESULTS": str(results), "PYTHONPATH": str(Path(__file__).parents[2])}
    subprocess.run([*command, str(tmp_path)], env=environment, capture_output=True, check=False, timeout=60)
    first, one, two = (json.loads(line) for line in results.read_text().splitlines())
    assert "commit" in first["circumstances"]
    assert (one["row"], one["case"], one["seed"], one["outcome"]) == ("F1", "One sentence.", 3, "passed")
    assert (two["row"], two["outcome"]) == ("", "failed")
