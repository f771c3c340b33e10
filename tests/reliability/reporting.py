"""A pytest plugin (`-p tests.reliability.reporting`): where and when, then one line of JSON for each test, in
STILLGATE_RESULTS."""

import json
import os
from collections.abc import Generator
from inspect import getdoc
from pathlib import Path
from typing import Any

import pytest

from benchmarks.machine import circumstances


def pytest_sessionstart() -> None:
    _write({"circumstances": circumstances().line()})


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A row passes when its set-up, its body and its tear-down do."""
    report = yield
    outcomes = item.stash.setdefault(OUTCOMES, [])
    outcomes.append((report.outcome, report.duration))
    if report.when == "teardown":
        _write(_line(item, outcomes))
    return report


def _write(line: dict[str, Any]) -> None:
    if path := os.environ.get("STILLGATE_RESULTS"):
        with Path(path).open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(line) + "\n")


OUTCOMES = pytest.StashKey[list[tuple[str, float]]]()


def _line(item: pytest.Item, outcomes: list[tuple[str, float]]) -> dict[str, Any]:
    marker = item.get_closest_marker("row")
    told = dict(item.user_properties)
    words = [outcome for outcome, _ in outcomes]
    return {
        "row": marker.args[0] if marker else "",
        "test": item.nodeid,
        "case": (getdoc(getattr(item, "function", None)) or "").partition("\n\n")[0].replace("\n", " "),
        "size": told.get("size", ""),
        "seed": told.get("seed", ""),
        "figures": told.get("figures", {}),
        "outcome": next((word for word in words if word != "passed"), "passed"),
        "seconds": round(sum(seconds for _, seconds in outcomes), 1),
    }
