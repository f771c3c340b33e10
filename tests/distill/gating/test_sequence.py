"""The artifacts of a candidate in their fixed order, and how a round is concluded."""

from pathlib import Path

from distill.curation.split import Split
from distill.gating.concluding import best_of, conclude
from distill.gating.gate import Judged, judge
from distill.gating.lock import lock_gate
from distill.gating.outcome import Step
from distill.gating.rounds import rounds_before
from distill.gating.sequence import judge_in_order
from ledger.configuration import TaskSection
from tests.distill.desk import build_row
from tests.distill.gating.parrot import Parrot, gate_of, texts_of


def judged_by(task: TaskSection, tmp_path: Path, wrong: int) -> Judged:
    rows = gate_of(task, x=200)
    lock = lock_gate(tmp_path, task, rows)
    return judge(Parrot(wrong=texts_of(rows[:wrong])), rows, task, lock, looks=1)


def test_every_artifact_that_passes_is_judged_at_the_whole_level(task: TaskSection, tmp_path: Path) -> None:
    """In the order of the lock, whatever the order of the call."""
    rows = gate_of(task, x=200)
    artifacts = {"int8-dynamic": Parrot(), "int8-weights": Parrot(), "fp32": Parrot()}

    found = judge_in_order(artifacts, rows, task, lock_gate(tmp_path, task, rows), looks=2)

    assert list(found) == ["fp32", "int8-weights", "int8-dynamic"]
    assert {one.report.alpha for one in found.values()} == {0.025}


def test_the_first_that_fails_ends_it_and_takes_nothing_back(task: TaskSection, tmp_path: Path) -> None:
    """Ten flips in two hundred are too many for the budget; what comes after is not looked at."""
    rows = gate_of(task, x=200)
    flips = Parrot(wrong=texts_of(rows[:10]))
    artifacts = {"fp32": Parrot(), "int8-weights": flips, "int8-dynamic": Parrot()}

    found = judge_in_order(artifacts, rows, task, lock_gate(tmp_path, task, rows), looks=1)

    assert {kind: one.report.outcome for kind, one in found.items()} == {
        "fp32": "pass",
        "int8-weights": "fail",
    }
    assert any(row.criterion == "quantization" for row in found["int8-weights"].report.criteria)


def test_the_best_candidate_stands_for_the_round(task: TaskSection, tmp_path: Path) -> None:
    """One that passed, else the one with fewer failing slices and more agreement."""
    passed, worse, worst = (judged_by(task, tmp_path, wrong) for wrong in (5, 80, 120))

    assert best_of([worst, passed, worse]) is passed
    assert best_of([worst, worse]) is worse


def test_a_round_is_concluded_once(task: TaskSection, tmp_path: Path) -> None:
    """Again after a crash it comes to the same; the next one sees it, and an end begins another history."""
    rows = gate_of(task, x=200)
    train = tuple(build_row(task, 1000 + number) for number in range(50))
    split = Split(tuple(rows), train, (), ())
    bad = judged_by(task, tmp_path, 80)
    for job in ("1", "2", "3"):
        (tmp_path / job).mkdir()

    first = [conclude(tmp_path / "1", task, split, [bad], [1]) for _ in range(2)]
    second = conclude(tmp_path / "2", task, split, [bad], [1, 2])

    assert first[0] == first[1]
    assert (first[0].step, second.step) == (Step.ITERATE, Step.KILL)
    assert {need.slice: need.has_train_rows for need in first[0].needs} == {"all": 50, "area=x": 50}
    assert rounds_before(tmp_path, "1", [1, 2]) == ()
    assert conclude(tmp_path / "3", task, split, [bad], [1, 2, 3]).step is Step.ITERATE
