"""What follows from rounds: ship, iterate with the rows that are missing, or give up with a diagnosis."""

from dataclasses import replace
from pathlib import Path

import pytest

from distill.gating.outcome import Diagnosis, Step, diagnose, need_of, outcome_of
from distill.gating.rounds import Hints, Round, SliceRound, rounds_before, write_round
from ledger.job_folders import forget_rows

SLICE = SliceRound("area=x", "fail", bar=0.9, pairs=200, agreements=178, train_rows=400)
SLICE_AT_93 = replace(SLICE, agreements=186)


def round_of(job_id: int, share: float, passed: bool = False, rows: int = 200) -> Round:
    """One slice, of whose rows the first ones are agreed on."""
    agreed = {f"row {number}": number < share * rows for number in range(rows)}
    outcome = "pass" if passed else "fail"
    one = replace(SLICE, outcome=outcome, pairs=rows, agreements=sum(agreed.values()))
    members = dict.fromkeys(agreed, ("area=x",))
    return Round(job_id, "1", passed, 0.05, (one,), agreed, members)


def test_a_candidate_that_passed_is_shipped() -> None:
    """Whatever the rounds before it came to."""
    assert outcome_of([round_of(1, 0.8), round_of(2, 0.95, passed=True)]).step is Step.SHIP


def test_a_first_round_that_fails_is_told_what_it_needs() -> None:
    """At 93 % a bar of 90 % is provable with more gate rows, at 88 % with none."""
    outcome = outcome_of([round_of(1, 0.93)])
    below = outcome_of([round_of(1, 0.88)])

    assert (outcome.step, outcome.needs[0].gate_rows) == (Step.ITERATE, need_of(SLICE_AT_93, 0.05).gate_rows)
    assert 500 < (outcome.needs[0].gate_rows or 0) < 700
    assert below.needs[0].gate_rows is None
    assert below.needs[0].train_rows == 800
    assert "not above its bar" in below.reasons[0]


def test_progress_goes_on() -> None:
    """Eight points on the same rows are no luck."""
    assert outcome_of([round_of(1, 0.80), round_of(2, 0.88)]).step is Step.ITERATE


def test_two_rounds_without_progress_end_it() -> None:
    """One row more of two hundred is nothing; the reason has the interval."""
    outcome = outcome_of([round_of(1, 0.88), round_of(2, 0.885)])

    assert outcome.step is Step.KILL
    assert "two rounds without progress: area=x changed by +0.000" in outcome.reasons[0]


def test_three_rounds_without_passing_end_it() -> None:
    """However much they gain."""
    rounds = [round_of(number, share) for number, share in enumerate((0.6, 0.7, 0.8), 1)]

    assert outcome_of(rounds).step is Step.KILL
    assert "3 rounds without passing" in outcome_of(rounds).reasons[0]


def test_rounds_without_common_rows_are_not_compared() -> None:
    """Then three rounds decide."""
    other = round_of(2, 0.88)
    fresh = {f"new {digest}": hit for digest, hit in other.agreed.items()}
    unlike = replace(other, agreed=fresh, members=dict.fromkeys(fresh, ("area=x",)))

    assert outcome_of([round_of(1, 0.88), unlike]).step is Step.ITERATE


@pytest.mark.parametrize(
    ("hints", "pairs", "diagnosis"),
    [
        (Hints(ceiling=0.85), 2000, Diagnosis.CEILING),
        (Hints(), 100, Diagnosis.DATA),
        (Hints(label_noise=0.2), 2000, Diagnosis.NOISE),
        (Hints(next_rung_gain=0.03), 2000, Diagnosis.CAPACITY),
        (Hints(neighbour_agreement=0.7), 2000, Diagnosis.REPRESENTATION),
        (
            Hints(ceiling=0.99, label_noise=0.01, next_rung_gain=0.0, neighbour_agreement=0.95),
            2000,
            Diagnosis.UNCLEAR,
        ),
    ],
)
def test_a_diagnosis_is_what_was_measured(hints: Hints, pairs: int, diagnosis: Diagnosis) -> None:
    """The first cause that the numbers support, with them in the sentence."""
    one = replace(SLICE, pairs=pairs, agreements=round(0.93 * pairs))

    found, sentence = diagnose(hints, (one,), (need_of(one, 0.05),))

    assert found is diagnosis
    assert sentence


def test_rounds_are_read_back_since_the_last_student(tmp_path: Path) -> None:
    """Those of another teacher, before a pass or before an end are another history."""
    ended = replace(round_of(3, 0.8), ended=True)
    for one in (round_of(1, 0.7), round_of(2, 0.95, passed=True), ended, round_of(4, 0.8), round_of(5, 0.85)):
        (tmp_path / str(one.job_id)).mkdir()
        write_round(tmp_path / str(one.job_id), one)

    assert rounds_before(tmp_path, "1", [5, 1, 2, 3, 4, 6]) == (round_of(4, 0.8), round_of(5, 0.85))
    assert rounds_before(tmp_path, "2", [1, 2, 3, 4, 5]) == ()


def test_an_erasure_takes_its_rows_out_of_a_round(tmp_path: Path) -> None:
    """Digest and outcome are gone; the rest can be compared as before."""
    (tmp_path / "1").mkdir()
    write_round(tmp_path / "1", round_of(1, 0.9, rows=10))

    forget_rows(tmp_path / "1", {"row 0", "row 9"})

    (left,) = rounds_before(tmp_path, "1", [1])
    assert len(left.agreed) == 8
    assert "row 0" not in left.members
