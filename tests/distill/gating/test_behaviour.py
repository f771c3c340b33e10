"""Behavioural tests from a user's file: read line by line, judged by tag."""

import json
from pathlib import Path

import pytest

from distill.gating.behaviour import BehaviourFileWrong, behaviour_rows, read_behaviour
from tests.distill.gating.parrot import Parrot

LINES = [
    {"input": "a one", "expect": {"class": "a", "confidence": 0.8}, "tags": ["short", "polite"]},
    {"inputs": ["b one", "b two"], "expect": {"same": True}, "tags": ["short"]},
    {"input": "b three", "expect": {"not": "a"}},
]


def write(tmp_path: Path, *lines: object) -> Path:
    path = tmp_path / "behaviour.jsonl"
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines))
    return path


def test_each_tag_has_a_row(tmp_path: Path) -> None:
    """A line counts for each of its tags, and one without any is untagged."""
    tests = read_behaviour(write(tmp_path, *LINES), ["a", "b"])

    rows = {row.name: row for row in behaviour_rows(Parrot(), tests, 1.0)}

    assert {name: (row.outcome, row.count) for name, row in rows.items()} == {
        "short": ("pass", 2),
        "polite": ("pass", 1),
        "untagged": ("pass", 1),
    }


def test_a_broken_test_is_named(tmp_path: Path) -> None:
    """The tag fails, and the reason has the number of the line."""
    tests = read_behaviour(write(tmp_path, *LINES), ["a", "b"])
    student = Parrot(wrong=frozenset({"b two"}))

    rows = {row.name: row for row in behaviour_rows(student, tests, 0.9)}

    assert (rows["short"].outcome, rows["polite"].outcome) == ("fail", "pass")
    assert "line 2" in rows["short"].reason


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "line 2 is no JSON"),
        ([], "line 2: it is no object"),
        ({"input": "x", "expect": {"class": "c"}}, "line 2: class = 'c' is no class of the task: a, b"),
        ({"input": "x", "inputs": ["y"], "expect": {"class": "a"}}, "give input, a text, or inputs"),
        ({"inputs": [], "expect": {"class": "a"}}, "inputs have to be texts"),
        ({"input": "x", "expect": {"same": True}}, "needs two inputs or more"),
        ({"input": "x", "expect": {"class": "a", "confidence": 2}}, "between 0 and 1"),
        ({"input": "x", "expect": {}}, "expect has to be an object"),
        ({"input": "x", "expect": {"class": "a"}, "tag": "t"}, "unknown keys ['tag']"),
        ({"input": "x", "expect": {"class": "a"}, "tags": "t"}, "tags have to be a list of words"),
    ],
)
def test_a_wrong_line_is_refused(tmp_path: Path, line: object, said: str) -> None:
    """With its number and the rule that it breaks."""
    with pytest.raises(BehaviourFileWrong) as refused:
        read_behaviour(write(tmp_path, LINES[0], line), ["a", "b"])

    assert said in str(refused.value)


def test_an_empty_or_missing_file_is_refused(tmp_path: Path) -> None:
    """A file without a test would judge nothing while it seems to."""
    with pytest.raises(BehaviourFileWrong, match="has no test"):
        read_behaviour(write(tmp_path, ""), ["a", "b"])
    with pytest.raises(BehaviourFileWrong, match="cannot be read"):
        read_behaviour(tmp_path / "absent", ["a", "b"])
