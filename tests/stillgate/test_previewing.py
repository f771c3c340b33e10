"""`stillgate preview` over the real admin API."""

import json
import time

from ledger.slices import OVERALL
from tests.gateway.control.desk import Desk
from tests.gateway.control.test_preview import give_window
from tests.stillgate.command import run_as

NOW_US = int(time.time() * 1_000_000)


def test_a_table_marks_the_certified_threshold(desk: Desk, student: str) -> None:
    """With what would be served at each share of the traffic, and in words what is not known."""
    give_window(desk, student, NOW_US - 3_600_000_000, {OVERALL: 200})
    shown = run_as(desk, "vera", "preview", "--share", "0.2")

    assert shown.exit_code == 0, shown.stderr
    marked = next(line for line in shown.stdout.splitlines() if "<- certified" in line)
    assert marked.split()[0] == "0.60"
    for said in (
        f"{student}, slice all of task topics: 400 pairs of the last 3d, 0 of them labelled",
        "20 % of traffic",
        "would have served 10.0 (8.3-11.7) % of the inputs",
        "no label has come for these pairs",
        "call_cost is not set",
    ):
        assert said in shown.stdout


def test_a_program_gets_every_threshold(desk: Desk, student: str) -> None:
    """The document of the admin API."""
    give_window(desk, student, NOW_US - 3_600_000_000, {OVERALL: 200})
    document = json.loads(run_as(desk, "vera", "preview", "topics", "-o", "json").stdout)
    assert [row["threshold"] for row in document["thresholds"]] == [0.5, 0.6, 0.9]


def test_older_pairs_are_left_out(desk: Desk, student: str) -> None:
    """And what is left is said to be nothing."""
    give_window(desk, student, NOW_US - 5 * 86_400_000_000, {OVERALL: 200})
    assert "has no pair in this time" in run_as(desk, "vera", "preview").stdout
    assert "400 pairs of the last 2w" in run_as(desk, "vera", "preview", "--since", "2w").stdout


def test_what_cannot_be_read_is_said(desk: Desk, student: str) -> None:
    """A length of time that is none, a task that is not there."""
    refused = run_as(desk, "vera", "preview", "--since", "soon")
    assert (refused.exit_code, "no length of time" in refused.stderr) == (2, True)
    assert "there is no task 'nix'" in run_as(desk, "vera", "preview", "nix").stderr
