"""Facts in, cause out: which of two explanations counts, and what is said where little is known."""

from typing import Any

from monitor.cause import Cause, cause_of, in_short, unexplained
from monitor.findings import NEAR_US, Facts, Outcome, Source
from monitor.input_moved import LEAST_INPUTS
from monitor.runtimes import Runtime
from monitor.sides import Side, Version
from monitor.sums import SliceSums
from monitor.training_window import TrainingWindow

CLASSES = ("a", "b")
CHANGE_US = 100 * NEAR_US
WINDOW = TrainingWindow(CHANGE_US, CHANGE_US + 1, 10, False, 20, False, None, "")


def sums(
    inputs: int, words: int = 5, student_b: float = 0.3, teacher_b: float = 0.3, sure: int = 50
) -> SliceSums:
    """Inputs of about one length; so many of them answered with class b."""
    mixes = {name: round(share * inputs) for name, share in (("student", student_b), ("teacher", teacher_b))}
    return SliceSums(
        pairs=inputs,
        words=((words, inputs // 2), (words + 1, inputs - inputs // 2)),
        student_classes=((0, inputs - mixes["student"]), (1, mixes["student"])),
        teacher_classes=((0, inputs - mixes["teacher"]), (1, mixes["teacher"])),
        student_confidence=((sure, inputs),),
        teacher_confidence=((sure, inputs),),
    )


def side(of: SliceSums, first_us: int, versions: dict[str, Version] | None = None, **changes: Any) -> Side:
    count = of.pairs
    versions = {"1": Version(count, first_us, first_us)} if versions is None else versions
    return Side(exchanges=count, first_us=first_us, last_us=first_us, versions=versions, sums=of, **changes)


def cause(**changes: Any) -> Cause:
    facts: dict[str, Any] = {
        "classes": CLASSES,
        "change_us": CHANGE_US,
        "before": side(sums(400), CHANGE_US - NEAR_US),
        "after": side(sums(200), CHANGE_US),
        "reference": sums(600),
        "learnt_version": "1",
        "runtimes": (Runtime(0, "1.22.0", ("CPU",)),),
        "gate_runtime": "1.22.0",
        "window": WINDOW,
    }
    return cause_of(Facts(**(facts | changes)))


def outcome(found: Cause, source: Source) -> Outcome:
    return next(finding.outcome for finding in found.findings if finding.source is source)


def test_nothing_moved_is_an_answer() -> None:
    """Every source was looked at and stood still."""
    found = cause()

    assert {finding.outcome for finding in found.findings} == {Outcome.STILL}
    assert found.moved == ()
    assert found.summary.startswith("unattributed: ")
    assert "too little" not in found.summary
    assert in_short(found.plain()) == {"summary": found.summary, "moved": ()}


def test_the_input_explains_what_the_teacher_answers() -> None:
    """Where both moved, the teacher's classes follow from the input and are no cause of their own."""
    found = cause(after=side(sums(200, student_b=0.8, teacher_b=0.8), CHANGE_US))

    assert found.moved == (Source.INPUT,)
    assert "student classes, class " in found.summary
    assert "teacher classes" not in found.summary


def test_a_student_on_another_runtime_proves_nothing_of_the_input() -> None:
    """Its answers moved because it did; only a length that moves as well is the input."""
    runtimes = (Runtime(0, "1.22.0", ("CPU",)), Runtime(CHANGE_US, "1.23.0", ("CUDA", "CPU")))

    alone = cause(runtimes=runtimes, after=side(sums(200, student_b=0.8), CHANGE_US))
    both = cause(runtimes=runtimes, after=side(sums(200, words=9, student_b=0.8), CHANGE_US))

    assert alone.moved == (Source.STUDENT,)
    assert "onnxruntime 1.23.0 with CUDA, CPU" in alone.summary
    assert both.moved == (Source.STUDENT, Source.INPUT)


def test_what_changed_long_before_is_no_cause() -> None:
    """A runtime and a teacher version from earlier are mentioned, and the input's slow way since the gate is too."""
    early = CHANGE_US - 2 * NEAR_US
    versions = {"1": Version(100, early - 1, early), "2": Version(300, early, CHANGE_US)}
    found = cause(
        runtimes=(Runtime(0, "1.22.0", ("CPU",)), Runtime(early, "1.23.0", ("CPU",))),
        before=side(sums(400), early - 1, versions),
        after=side(sums(200), CHANGE_US, {"2": Version(200, CHANGE_US, CHANGE_US)}),
        reference=sums(600, words=12),
    )

    assert found.moved == ()
    assert outcome(found, Source.STUDENT) is Outcome.MOVED_EARLIER
    assert outcome(found, Source.INPUT) is Outcome.MOVED_EARLIER
    assert "its gate ran on onnxruntime 1.22.0" in found.summary
    assert "since the student's gate, slowly or before the change: length, fewer than" in found.summary
    assert "the student learnt from 1" in found.findings[0].sentence


def test_a_version_that_always_answered_a_share_is_no_cause() -> None:
    """Two versions side by side, as many of each before and after."""
    versions = {"1": Version(200, CHANGE_US - 9, CHANGE_US), "2": Version(200, CHANGE_US - 9, CHANGE_US)}
    found = cause(
        before=side(sums(400), CHANGE_US - 9, versions),
        after=side(sums(200), CHANGE_US, {name: Version(100, CHANGE_US, CHANGE_US) for name in "12"}),
    )

    assert outcome(found, Source.TEACHER) is Outcome.STILL


def test_without_a_past_the_gate_is_what_the_input_is_held_against() -> None:
    """As for a student that was bad from its first answer on; the teacher against the version it learnt from."""
    fresh: dict[str, Any] = {"before": Side()}
    other = side(sums(200, words=12), CHANGE_US, {"2": Version(200, CHANGE_US, CHANGE_US)})
    same, moved = cause(**fresh), cause(**fresh, after=other)

    assert same.moved == ()
    assert outcome(same, Source.SERVING) is Outcome.UNKNOWN
    assert same.summary.endswith("too little was there to look at: serving")
    assert moved.moved == (Source.TEACHER, Source.INPUT)
    assert "the input is not that of the student's gate" in moved.summary
    assert "the student learnt from version 1" in moved.summary


def test_too_few_inputs_are_told_as_such() -> None:
    """Not as inputs that stood still."""
    few = cause(after=side(sums(LEAST_INPUTS - 1, words=12), CHANGE_US))
    bare = cause(before=Side(), reference=None)

    assert outcome(few, Source.INPUT) is outcome(bare, Source.INPUT) is Outcome.UNKNOWN
    assert f"{LEAST_INPUTS - 1} distinct inputs of the slice since the change" in few.findings[-1].sentence
    assert "the gate saw too few rows" in bare.findings[-1].sentence


def test_only_reasons_that_rose_are_serving() -> None:
    """A tenth that always failed explains nothing, nor does one more failure."""
    found = cause(
        before=side(sums(400), CHANGE_US - 1, troubles={"teacher_malformed": 40, "upstream_timeout": 1}),
        after=side(sums(200), CHANGE_US, troubles={"teacher_malformed": 22, "upstream_timeout": 30}),
    )

    assert found.moved == (Source.SERVING,)
    assert found.summary == "serving went wrong more often: upstream timeout 0.2 % -> 15.0 %"


def test_very_many_inputs_move_nothing_by_a_hair() -> None:
    """What is certain and small explains no alarm."""
    found = cause(
        before=side(sums(100_000), CHANGE_US - 1), after=side(sums(100_000, student_b=0.32), CHANGE_US)
    )

    evidence = found.findings[-1].evidence["before"]
    student = next(one for one in evidence if one["feature"] == "student_classes")
    assert (student["moved"], student["movement"]["p_value"]) == (False, 1 / 2000)
    assert found.moved == ()


def test_an_alarm_that_nobody_looked_into_says_so() -> None:
    """As one of very many in a tick."""
    assert unexplained("enough").plain()["summary"] == "not looked into: enough"
    assert in_short(None) is None
