"""What a changed file concerns."""

from pathlib import Path

import pytest

from ledger.configuration import Configuration, load
from ledger.reload import concerned, takes_restart
from tests.gateway.running import write_configuration

CHANGES = {
    "a limit of the gateway": ("max_body_bytes = 4096", "max_body_bytes = 2048", [], {"gateway", "control"}),
    "where it listens": (
        "max_body_bytes = 4096",
        'name = "g1"',
        ["gateway.name", "gateway.max_body_bytes"],
        None,
    ),
    "a task": ('version = "1"', 'version = "2"', [], {"gateway", "control", "monitor", "student"}),
    "the dead-man rule": (
        "stale_seconds = 60",
        "stale_seconds = 90",
        [],
        {"gateway", "control", "monitor"},
    ),
    "the data directory": (
        'data_directory = "',
        'data_directory = "/elsewhere/',
        ["deployment.data_directory"],
        None,
    ),
    "a receiver of webhooks": (
        "[[task]]",
        '[[webhook]]\nname = "pager"\nurl = "http://127.0.0.1:1/"\n\n[[task]]',
        [],
        {"control"},
    ),
    "nothing": ("", "", [], set()),
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write_configuration(tmp_path, "http://127.0.0.1:1", gateway="max_body_bytes = 4096")[0]


@pytest.mark.parametrize("name", CHANGES)
def test_a_change(file: Path, name: str) -> None:
    """Settings bound to sockets and files take a restart; everything else is read by whom it concerns."""
    old_text, new_text, fixed, processes = CHANGES[name]
    old = load(file)
    assert old_text in file.read_text()
    file.write_text(file.read_text().replace(old_text, new_text, 1))
    new: Configuration = load(file)
    if processes is None:
        assert set(takes_restart(old, new)) >= set(fixed[:1])
    else:
        assert (takes_restart(old, new), concerned(old, new)) == (fixed, processes)
