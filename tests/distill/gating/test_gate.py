"""The gate: exact bounds on locked rows, three verdicts, and where the student may serve."""

from pathlib import Path

import pytest

from distill.curation.split import GateRow
from distill.gating.gate import judge
from distill.gating.lock import GateUnlocked, check_lock, lock_gate, read_lock, rows_locked_before
from ledger.configuration import SliceSection, TaskSection
from tests.distill.desk import build_row
from tests.distill.gating.parrot import Parrot, gate_of


def outcomes(task: TaskSection, tmp_path: Path, rows: list[GateRow], student: Parrot) -> dict[str, str]:
    judged = judge(student, rows, task, lock_gate(tmp_path, task, rows), looks=1)
    return {"report": judged.report.outcome} | {v.slice: v.outcome for v in judged.report.verdicts}


def test_a_student_that_agrees_passes(task: TaskSection, tmp_path: Path) -> None:
    """Every slice with enough rows passes, and the thin one is not provable; neither blocks."""
    found = outcomes(task, tmp_path, gate_of(task, x=100, thin=10), Parrot())

    assert found["report"] == found["all"] == found["area=x"] == "pass"
    assert found["area=thin"] == "inconclusive"


def test_one_bad_critical_slice_fails_a_good_aggregate(task: TaskSection, tmp_path: Path) -> None:
    """The aggregate passes its bar, the slice does not, and so the student does not."""
    bad = [GateRow(build_row(task, 1000 + number, "y"), None) for number in range(50)]
    rows = gate_of(task, x=400) + bad
    student = Parrot(wrong=frozenset(entry.row.text for entry in bad[:25]))

    found = outcomes(task, tmp_path, rows, student)

    assert found["all"] == "pass"
    assert found["area=y"] == "fail"
    assert found["report"] == "fail"


def test_a_failed_answer_is_a_disagreement(task: TaskSection, tmp_path: Path) -> None:
    """A student cannot pass by failing on what it does not know."""
    rows = gate_of(task, x=100)
    fails = frozenset(entry.row.text for entry in rows[:60])

    assert outcomes(task, tmp_path, rows, Parrot(fails=fails))["report"] == "fail"


def test_no_rows_are_inconclusive(task: TaskSection, tmp_path: Path) -> None:
    """No evidence never passes."""
    assert outcomes(task, tmp_path, [], Parrot())["report"] == "inconclusive"


def test_only_slices_of_the_request_that_passed_are_certified(task: TaskSection, tmp_path: Path) -> None:
    """A slice over the teacher's answer, or one that is not provable, gets no threshold."""
    rows = gate_of(task, x=200, thin=10)

    judged = judge(Parrot(), rows, task, lock_gate(tmp_path, task, rows), looks=1)

    assert set(judged.certificate.thresholds) == {"all", "area=x"}
    assert (judged.certificate.served, judged.certificate.drawn) == (200, 210)


def test_small_slices_without_a_bar_share_a_line(task: TaskSection, tmp_path: Path) -> None:
    """Ten rows each prove nothing; forty of them do, and a request of any of them may be served."""
    areas = (SliceSection(name="area", header="x-area"),)
    free = task.model_copy(update={"slice": areas})
    rows = gate_of(free, x=100, p=10, q=10, r=10, s=10)

    judged = judge(Parrot(), rows, free, lock_gate(tmp_path, free, rows), looks=1)

    pool = judged.certificate.slices["area:small"]
    assert (pool.pool, pool.accepted) == (("area=p", "area=q", "area=r", "area=s"), 40)
    assert set(judged.certificate.thresholds) == {"all", "area=x", *pool.pool}
    assert judged.certificate.served == 140


def test_a_slice_that_missed_its_bar_takes_its_part_of_delta_and_gets_no_line(
    task: TaskSection, tmp_path: Path
) -> None:
    """What is divided may not depend on what the same rows showed."""
    bad = [GateRow(build_row(task, 1000 + number, "y"), None) for number in range(200)]
    rows = gate_of(task, x=200) + bad
    wrong = frozenset(entry.row.text for entry in bad[:120])

    judged = judge(Parrot(wrong=wrong), rows, task, lock_gate(tmp_path, task, rows), looks=1)

    assert set(judged.certificate.slices) <= {"area=x"}
    assert judged.certificate.slices["area=x"].delta == pytest.approx(0.1 / 3)


def test_several_looks_share_the_level(task: TaskSection, tmp_path: Path) -> None:
    """Two candidates that may look make each look stricter."""
    rows = gate_of(task, x=100)
    lock = lock_gate(tmp_path, task, rows)
    student = Parrot(wrong=frozenset(entry.row.text for entry in rows[:13]))

    one, two = (judge(student, rows, task, lock, looks).report for looks in (1, 2))

    assert (one.alpha, two.alpha) == (0.05, 0.025)
    lines = [judge(Parrot(), rows, task, lock, looks).certificate.slices["all"] for looks in (1, 2)]
    assert lines[0].delta == 2 * lines[1].delta
    assert two.verdicts[0].lower_bound < one.verdicts[0].lower_bound


def test_a_lock_stands(task: TaskSection, tmp_path: Path) -> None:
    """Locking again with other rows changes nothing; judging other rows, or a touched lock, is refused."""
    rows = gate_of(task, x=5)
    lock = lock_gate(tmp_path, task, rows)

    assert lock_gate(tmp_path, task, gate_of(task, y=9)) == lock
    check_lock(tmp_path / "gate.lock.json", lock, rows)
    with pytest.raises(GateUnlocked, match="1 rows differ"):
        check_lock(tmp_path / "gate.lock.json", lock, rows[1:])
    (tmp_path / "gate.lock.json").write_text('{"rows": {}}')
    with pytest.raises(GateUnlocked, match="changed after it was locked"):
        check_lock(tmp_path / "gate.lock.json", lock, rows)


def test_the_lock_covers_bars_and_rows(task: TaskSection, tmp_path: Path) -> None:
    """Another bar or another row is another lock."""
    rows = gate_of(task, x=5)
    lower = task.model_copy(update={"gate": task.gate.model_copy(update={"bar": 0.5})})
    digests = set()
    for place, (one, its_rows) in enumerate([(task, rows), (lower, rows), (task, rows[1:])]):
        folder = tmp_path / str(place)
        folder.mkdir()
        digests.add(lock_gate(folder, one, its_rows).digest)

    assert len(digests) == 3


def test_earlier_jobs_locks_are_remembered(task: TaskSection, tmp_path: Path) -> None:
    """All rows of other jobs of this task, none of another task's or of the job's own lock."""
    other = task.model_copy(update={"name": "other"})
    for folder, one, rows in (
        ("1", task, gate_of(task, x=3)),
        ("2", other, gate_of(task, y=3)),
        ("3", task, gate_of(task, z=3)),
    ):
        (tmp_path / folder).mkdir()
        lock_gate(tmp_path / folder, one, rows)

    locked = rows_locked_before(tmp_path, task.name, but=tmp_path / "3")

    assert locked == read_lock(tmp_path / "1" / "gate.lock.json").rows
