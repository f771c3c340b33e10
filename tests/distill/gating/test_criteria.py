"""What the gate judges beside fidelity: each criterion passes, fails and says when it cannot be proven."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from distill.curation.split import GateRow
from distill.gating.gate import judge
from distill.gating.lock import lock_gate
from distill.gating.look import ALONE, Beside
from distill.gating.mix import patterns_of
from ledger.artifacts import CriterionVerdict, GateReport
from ledger.configuration import CriteriaSection, FairnessSection, TaskSection
from ledger.observation import Observation
from tests.distill.desk import CERTAIN, build_row
from tests.distill.gating.parrot import Parrot, gate_of, texts_of


def report_of(
    task: TaskSection, tmp_path: Path, rows: Sequence[GateRow], student: Parrot, beside: Beside = ALONE
) -> GateReport:
    return judge(student, rows, task, lock_gate(tmp_path, task, rows), looks=1, beside=beside).report


def with_criteria(task: TaskSection, **bars: Any) -> TaskSection:
    return task.model_copy(update={"criteria": CriteriaSection.model_validate(bars)})


def with_fairness(task: TaskSection, **statement: Any) -> TaskSection:
    return task.model_copy(update={"fairness": FairnessSection.model_validate(statement)})


def row_named(report: GateReport, criterion: str, name: str) -> CriterionVerdict:
    return next(row for row in report.criteria if (row.criterion, row.name) == (criterion, name))


def test_what_has_no_bar_is_not_judged_and_no_pass(task: TaskSection, tmp_path: Path) -> None:
    """A report says of every criterion that nobody asked for it."""
    report = report_of(task, tmp_path, gate_of(task, x=100), Parrot())

    assert report.outcome == "pass"
    assert {row.outcome for row in report.criteria} == {"not_judged"}
    told = {row.criterion for row in report.criteria}
    assert told >= {
        "negative_flips",
        "calibration",
        "accuracy",
        "latency",
        "fairness",
        "robustness",
        "behaviour",
    }
    assert "criteria.max_calibration_error is not set" in row_named(report, "calibration", "all").reason


@pytest.mark.parametrize(
    ("flips", "rows", "outcome"),
    [(0, 200, "pass"), (12, 200, "fail"), (2, 200, "fail"), (0, 50, "inconclusive")],
)
def test_negative_flips_have_a_budget(
    task: TaskSection, tmp_path: Path, flips: int, rows: int, outcome: str
) -> None:
    """What the incumbent had right may be wrong in so few rows; with fifty rows not even none proves 2 %."""
    asked = with_criteria(task, max_negative_flips=0.02)
    gate = gate_of(asked, x=rows)

    report = report_of(
        asked, tmp_path, gate, Parrot(wrong=texts_of(gate[:flips])), Beside(incumbent=Parrot())
    )

    assert row_named(report, "negative_flips", "all").outcome == outcome
    assert report.outcome == outcome


def test_what_the_incumbent_had_wrong_too_is_no_flip(task: TaskSection, tmp_path: Path) -> None:
    """Twenty rows that both have wrong cost fidelity, and no flip."""
    asked = with_criteria(task, max_negative_flips=0.02)
    gate = gate_of(asked, x=200)
    both = Parrot(wrong=texts_of(gate[:20]))

    row = row_named(report_of(asked, tmp_path, gate, both, Beside(incumbent=both)), "negative_flips", "all")

    assert (row.outcome, row.value, row.count) == ("pass", 0.0, 200)


@pytest.mark.parametrize(("bar", "outcome"), [(0.25, "pass"), (0.05, "fail")])
def test_calibration_has_a_bar(task: TaskSection, tmp_path: Path, bar: float, outcome: str) -> None:
    """A student that says .8 or .9 and is always right is 15 points too unsure."""
    asked = with_criteria(task, max_calibration_error=bar)

    row = row_named(report_of(asked, tmp_path, gate_of(asked, x=200), Parrot()), "calibration", "all")

    assert row.outcome == outcome
    assert row.value == pytest.approx(0.15, abs=1e-3)


def test_few_rows_prove_no_calibration(task: TaskSection, tmp_path: Path) -> None:
    """Sixty rows are told, and neither pass nor fail."""
    asked = with_criteria(task, max_calibration_error=0.16)

    row = row_named(report_of(asked, tmp_path, gate_of(asked, x=60), Parrot()), "calibration", "all")

    assert row.outcome == "inconclusive"


@pytest.mark.parametrize(
    ("lost", "labels", "outcome"), [(0, 150, "pass"), (20, 150, "fail"), (0, 20, "inconclusive")]
)
def test_accuracy_may_not_fall(
    task: TaskSection, tmp_path: Path, lost: int, labels: int, outcome: str
) -> None:
    """Paired with the incumbent on rows with verified labels."""
    asked = with_criteria(task, max_accuracy_loss=0.05)
    gate = gate_of(asked, x=200)
    known = {entry.row.digest: entry.row.teacher.top for entry in gate[:labels]}
    beside = Beside(incumbent=Parrot(), labels=known)

    report = report_of(asked, tmp_path, gate, Parrot(wrong=texts_of(gate[:lost])), beside)

    assert row_named(report, "accuracy", "loss").outcome == outcome
    assert row_named(report, "accuracy", "teacher").value == 1.0


@pytest.mark.parametrize(("bar", "outcome"), [(1000.0, "pass"), (1e-9, "fail")])
def test_latency_holds_on_each_pattern(task: TaskSection, tmp_path: Path, bar: float, outcome: str) -> None:
    """The patterns are those of the traffic, and each has a row."""
    asked = with_criteria(task, max_latency_seconds=bar)
    gate = gate_of(asked, x=100)
    patterns = patterns_of(entry.row for entry in gate)

    report = report_of(asked, tmp_path, gate, Parrot(), Beside(patterns=patterns))

    row = row_named(report, "latency", patterns[0].name)
    assert (row.outcome, patterns[0].name) == (outcome, "1 inputs of 0-7 words")


def test_patterns_are_weighed_by_traffic(task: TaskSection) -> None:
    """A text that came fifty times stands for fifty requests; inputs of one exchange make one request."""
    short = [replace(build_row(task, number), repeats=50) for number in range(2)]
    batch = [
        replace(build_row(task, 10 + n), exchange_id="g0-10", words=40, text="word " * 40) for n in range(3)
    ]

    found = patterns_of([*short, *batch])

    assert [pattern.name for pattern in found] == ["1 inputs of 0-7 words"]
    assert found[0].share == pytest.approx(100 / 101)
    assert [p.name for p in patterns_of(batch)] == ["2-4 inputs of 32-63 words"]


def test_undeclared_fairness_is_told_with_the_way_out(task: TaskSection, tmp_path: Path) -> None:
    """The report names the section that is missing."""
    undeclared = task.model_copy(update={"fairness": None})

    row = row_named(
        report_of(undeclared, tmp_path, gate_of(task, x=100), Parrot()), "fairness", "protected groups"
    )

    assert "[task.fairness] is missing" in row.reason


def test_a_group_that_is_treated_worse_fails_the_candidate(task: TaskSection, tmp_path: Path) -> None:
    """Eighty of a hundred against all of the rest is a gap of twenty points; the bar is five."""
    asked = with_fairness(task, protected=["area"], max_fidelity_gap=0.05)
    gate = gate_of(asked, x=400, y=400)
    student = Parrot(wrong=texts_of([e for e in gate if e.row.slices[1] == "area=y"][:80]))

    report = report_of(asked, tmp_path, gate, student)

    assert row_named(report, "fairness", "fidelity, area=y").outcome == "fail"
    assert row_named(report, "fairness", "fidelity, area=x").outcome == "pass"
    assert report.outcome == "fail"


def test_a_small_group_stays_with_the_teacher(task: TaskSection, tmp_path: Path) -> None:
    """Its gap is not provable: that fails nobody, and the student does not serve it."""
    free = task.model_copy(update={"slice": task.slice[:1]})
    free = free.model_copy(
        update={"slice": (free.slice[0].model_copy(update={"bar": None, "critical": False}),)}
    )
    asked = with_fairness(free, protected=["area"])
    gate = gate_of(asked, x=200, y=200, z=35)
    lock = lock_gate(tmp_path, asked, gate)
    student = Parrot(wrong=texts_of([e for e in gate if e.row.slices[1] == "area=z"][:2]))

    judged = judge(student, gate, asked, lock, looks=1)

    row = row_named(judged.report, "fairness", "fidelity, area=z")
    assert (row.outcome, row.decides, judged.report.outcome) == ("inconclusive", False, "pass")
    assert "area=z" not in judged.certificate.thresholds
    assert "area=x" in judged.certificate.thresholds


def test_what_the_teacher_does_too_is_inherited(task: TaskSection, tmp_path: Path) -> None:
    """Labels show the same gap for teacher and student; the teacher's row is told and decides nothing."""
    asked = with_fairness(task, protected=["area"], max_accuracy_gap=0.05)
    gate = gate_of(asked, x=300, y=300)
    wrong_in_y = [entry for entry in gate if entry.row.slices[1] == "area=y"][:60]
    labels = {e.row.digest: e.row.teacher.top for e in gate}
    labels |= {e.row.digest: 1 - e.row.teacher.top for e in wrong_in_y}

    report = report_of(asked, tmp_path, gate, Parrot(), Beside(labels=labels))

    assert row_named(report, "fairness", "accuracy, area=y").outcome == "fail"
    inherited = row_named(report, "teacher", "accuracy, area=y")
    assert (inherited.outcome, inherited.decides) == ("fail", False)


def test_robustness_is_the_share_of_answers_that_stay(task: TaskSection, tmp_path: Path) -> None:
    """Capitals change nothing for this student; letters that look like its own do."""
    asked = with_criteria(task, robustness={"case": 0.9, "lookalikes": 0.97})

    report = report_of(asked, tmp_path, gate_of(asked, x=200), Parrot())

    assert row_named(report, "robustness", "case").outcome == "pass"
    assert row_named(report, "robustness", "typos").outcome == "not_judged"
    assert row_named(report, "teacher", "robustness").reason.endswith("was not asked about changed texts")


def test_the_teacher_is_asked_where_it_can_be(task: TaskSection, tmp_path: Path) -> None:
    """Its own share stands beside the student's; calls that were refused are left out of it."""

    def ask(texts: Sequence[str]) -> list[Observation | None]:
        return [CERTAIN["a"], None] * (len(texts) // 2)

    report = report_of(task, tmp_path, gate_of(task, x=100), Parrot(), Beside(ask_teacher=ask))

    row = row_named(report, "teacher", "typos")
    assert (row.count, row.value) == (10, 1.0)


def test_a_quantized_artifact_may_change_few_answers(task: TaskSection, tmp_path: Path) -> None:
    """Ten of a hundred changed answers are more than the budget, though fidelity would pass."""
    gate = gate_of(task, x=200)
    changed = Parrot(wrong=texts_of(gate[:10]))

    report = report_of(task, tmp_path, gate, changed, Beside(original=Parrot()))

    assert row_named(report, "quantization", "all").outcome == "fail"
    assert report.outcome == "fail"
    assert not [
        row for row in report_of(task, tmp_path, gate, changed).criteria if row.criterion == "quantization"
    ]
