"""Two students on the same exchanges."""

from pathlib import Path

import pytest

from ledger.configuration import TaskSection
from ledger.exchange_file import ExchangeFile, exchange_path
from ledger.observation import Observation
from monitor.comparison import PairedCounts, compare, paired_counts
from tests.distill.desk import configuration_of
from tests.ledger.builders import build_answer, build_exchange

A, B = Observation((0.9, 0.1)), Observation((0.2, 0.8))


@pytest.fixture
def task(tmp_path: Path) -> TaskSection:
    return configuration_of(tmp_path).task[0]


def write(folder: Path, said: list[tuple[str, Observation | None, Observation | None]]) -> None:
    """One exchange each, which the teacher answers with A: its area, and what the two students said."""
    file = ExchangeFile(exchange_path(folder, "g0"))
    for number, (area, old, new) in enumerate(said):
        answers = [
            build_answer(number, responder, observations=(observation,))
            for responder, observation in (("old", old), ("new", new))
            if observation is not None
        ]
        file.append([build_exchange(number, attributes={"x-area": area}, teacher=(A,))], answers)
    file.close()


def test_who_agreed_where(tmp_path: Path, task: TaskSection) -> None:
    """A loss is where the old one alone agreed, a gain where the new one alone did; per slice and overall."""
    write(tmp_path, [("x", A, A), ("x", A, B), ("y", B, A), ("y", B, B)])

    counts = paired_counts(tmp_path, task, "old", "new")

    assert counts["all"] == PairedCounts(4, 2, 2, 1, 1)
    assert counts["area=x"] == PairedCounts(2, 2, 1, 1, 0)
    assert counts["area=y"] == PairedCounts(2, 0, 1, 0, 1)


def test_only_what_both_answered_counts(tmp_path: Path, task: TaskSection) -> None:
    """An exchange that one of them never answered says nothing about the difference."""
    write(tmp_path, [("x", A, None), ("x", None, A), ("x", A, A)])

    assert paired_counts(tmp_path, task, "old", "new")["all"].inputs == 1


def test_since_leaves_earlier_exchanges_out(tmp_path: Path, task: TaskSection) -> None:
    """The comparison can begin where the second student was not trained on what follows."""
    write(tmp_path, [("x", A, A), ("x", A, B)])

    counts = paired_counts(tmp_path, task, "old", "new", since_us=1_000_001)

    assert counts["all"] == PairedCounts(1, 1, 0, 1, 0)


def test_a_large_loss_in_one_slice_is_significant_among_many() -> None:
    """Holm's procedure finds the one slice that lost, and leaves the others alone."""
    counts = {f"area={number}": PairedCounts(100, 90, 90, 3, 3) for number in range(9)}
    counts["area=lost"] = PairedCounts(100, 90, 70, 22, 2)
    counts["all"] = PairedCounts(1000, 900, 880, 49, 29)

    rows = compare(counts)

    assert rows[0]["slice"] == "all"
    assert [row["slice"] for row in rows[1:] if row["significant"]] == ["area=lost"]
    assert rows[0]["loss_upper_bound"] > 0.02
