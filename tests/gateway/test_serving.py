"""Pure decisions: which arm, which threshold, who serves."""

import pytest

from gateway.serving import applied_threshold, applied_thresholds, assign, decide, why_uncovered
from ledger.exchange import Arm, Fallback
from ledger.observation import Observation, ObservationError
from ledger.slices import SliceRule, Subject
from student.wire import Refusal

AREA = SliceRule("area", "header", header="x-area")
LENGTH = SliceRule("length", "words", word_edges=(3,))
TEACHERS = SliceRule("class", "teacher_class")
RULES = (AREA, LENGTH, TEACHERS)
THRESHOLDS = {"all": 0.5, "area=n": 0.8, "length=0-2": 0.6}


@pytest.mark.parametrize("share", [0.0, 0.05, 0.5, 1.0])
def test_share_of_the_arm(share: float) -> None:
    """The share of subjects in the student's arm is the share asked for, and the ends are exact."""
    drawn = [assign("s-1", b"%d" % number, share) for number in range(4000)]
    found = drawn.count(Arm.STUDENT) / len(drawn)
    assert found == share if share in (0, 1) else abs(found - share) < 0.03


def test_arm_is_stable_and_grows() -> None:
    """Who is in at a small share is in at a larger one; another artifact draws anew."""
    subjects = [b"%d" % number for number in range(1000)]
    small = {s for s in subjects if assign("s-1", s, 0.1) is Arm.STUDENT}
    large = {s for s in subjects if assign("s-1", s, 0.3) is Arm.STUDENT}
    other = {s for s in subjects if assign("s-2", s, 0.1) is Arm.STUDENT}
    assert small < large
    assert small != other


@pytest.mark.parametrize(
    ("subject", "threshold"),
    [
        (Subject({}, 1), 0.6),
        (Subject({"x-area": "n"}, 1), 0.8),
        (Subject({"x-area": "s"}, 1), None),
        (Subject({}, 9), None),
    ],
)
def test_highest_threshold_of_all_slices(subject: Subject, threshold: float | None) -> None:
    """Overlapping slices: the highest applies, one without certificate means the teacher."""
    assert applied_threshold(RULES, THRESHOLDS, subject) == threshold


def test_every_text_has_its_own() -> None:
    """One uncertified text leaves the whole request to the teacher."""
    assert applied_thresholds((LENGTH,), THRESHOLDS, [Subject({}, 1), Subject({}, 2)]) == [0.6, 0.6]
    assert applied_thresholds((LENGTH,), THRESHOLDS, [Subject({}, 1), Subject({}, 3)]) is None
    assert applied_thresholds((), {}, [Subject({}, 1)]) is None


def test_a_slice_that_lost_its_certificate_is_told_from_one_that_never_had_it() -> None:
    """Also where the rule looks at the text."""
    long = SliceRule("size", "characters", character_edges=(5,))
    inputs = [Subject({}, 1, None, "a long one", 0)]
    assert why_uncovered((long,), frozenset({"size=5+"}), inputs) is Fallback.CERTIFICATE_VOID
    assert why_uncovered((long,), frozenset({"size=0-4"}), inputs) is Fallback.UNCERTIFIED_SLICE


SURE, UNSURE = Observation((0.9, 0.1)), Observation((0.6, 0.4))
BROKEN = Observation(None, ObservationError.NOT_FINITE)


@pytest.mark.parametrize(
    ("said", "thresholds", "fallback"),
    [
        ((SURE,), [0.9], None),
        ((SURE, UNSURE), [0.8, 0.6], None),
        ((SURE, UNSURE), [0.8, 0.61], Fallback.LOW_CONFIDENCE),
        ((SURE, BROKEN), [0.1, 0.1], Fallback.STUDENT_FAILED),
        ((SURE,), [0.1, 0.1], Fallback.STUDENT_FAILED),
        (Refusal.DEADLINE, [0.1], Fallback.DEADLINE),
        (Refusal.STUDENT_DOWN, [0.1], Fallback.STUDENT_FAILED),
        (Refusal.QUEUE_FULL, [0.1], Fallback.STUDENT_FAILED),
    ],
)
def test_who_serves(
    said: tuple[Observation, ...] | Refusal, thresholds: list[float], fallback: Fallback | None
) -> None:
    """The student serves if every input clears its own threshold; a threshold is reached, not exceeded."""
    assert decide(said, thresholds) is fallback
