"""Plans: what stops a job before anything is spent, what is only doubtful, and what they say."""

import pytest

from distill.planning.feasibility import Agreements, Feasibility, SliceNeed, plan_of

NO_CEILING = Agreements(0, 0)
ALPHA = 0.05


def build_need(slice: str = "all", bar: float = 0.9, rows: int = 400, agreements: int = 190) -> SliceNeed:
    return SliceNeed(slice, bar, True, rows, Agreements(agreements, 200))


def test_a_task_with_rows_and_a_near_student_goes() -> None:
    """With what its rows ask for, in a sentence."""
    plan = plan_of([build_need()], NO_CEILING, ALPHA)

    assert (plan.feasibility, plan.reasons) == (Feasibility.GO, ())
    assert plan.slices[0].fidelity_needed == pytest.approx(0.9375, abs=0.01)
    assert plan.slices[0].reason.startswith("all: 400 gate rows prove 90% for a student that agrees in 93")


def test_a_teacher_that_contradicts_itself_stops_the_job() -> None:
    """No student can agree with it more often than it does itself."""
    plan = plan_of([build_need()], Agreements(60, 100), ALPHA)

    assert plan.feasibility is Feasibility.CANNOT_PASS
    assert "agrees with itself in 60 of 100 repeated inputs, which is below the bar of 90%" in plan.reasons[0]


def test_a_few_contradictions_stop_nothing() -> None:
    """The bound on the teacher's own agreement has to lie below the bar, not the estimate."""
    assert plan_of([build_need()], Agreements(8, 10), ALPHA).feasibility is Feasibility.GO


def test_a_slice_with_too_few_rows_stays_with_the_teacher() -> None:
    """It stops no job, and it says how many rows would do."""
    small = build_need("area=x", 0.95, 40)
    plan = plan_of([build_need(), small], NO_CEILING, ALPHA)

    assert plan.feasibility is Feasibility.GO
    assert plan.slices[1].feasibility is Feasibility.NOT_PROVABLE
    assert "not even without one disagreement; 59 would" in plan.slices[1].reason


def test_too_few_rows_in_all_stop_the_job() -> None:
    """The gate could only say inconclusive."""
    plan = plan_of([build_need(rows=20)], NO_CEILING, ALPHA)

    assert plan.feasibility is Feasibility.CANNOT_PASS
    assert "29 would" in plan.reasons[0]


def test_a_cheap_student_that_is_far_away_makes_it_doubtful() -> None:
    """It says how much better the student has to become, and stops nothing: a better one may."""
    plan = plan_of([build_need(agreements=140)], NO_CEILING, ALPHA)

    assert (plan.feasibility, plan.slices[0].feasibility) == (Feasibility.GO, Feasibility.DOUBTFUL)
    assert "the cheap student agrees in 140 of 200" in plan.slices[0].reason
    assert "of its disagreements" in plan.slices[0].reason
