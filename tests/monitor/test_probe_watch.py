"""What a teacher's replies to the same requests say of it: its noise is no change, and a change is found."""

import random
from collections.abc import Iterable

import pytest

from ledger.configuration import ProbeSection
from ledger.observation import Observation, ObservationError
from ledger.probe_replies import ProbeReply
from ledger.teacher_changes import ChangeKind
from monitor.detector_state import to_json
from monitor.intervals import upper_bound
from monitor.probe_state import plain, read_watch
from monitor.probe_watch import BASELINE_PASSES, Change, Compared, ProbeWatch, watched
from tests.monitor.probes import NEARLY_A, PASS_US, A, B, Teacher, build_reply, passes

SECTION = ProbeSection()


def after(
    replies: Iterable[ProbeReply], watch: ProbeWatch | None = None, section: ProbeSection = SECTION
) -> tuple[ProbeWatch, list[Change]]:
    changes: list[Change] = []
    for reply in replies:
        watch, seen = watched(watch, reply, "g0", section)
        changes += seen
    assert watch is not None
    return watch, changes


def steady(of_pass: int, probe: int) -> Observation:
    return A


def changed_from(turn: int, probes: int) -> Teacher:
    """From this pass on, the first so many probes get another label."""
    return lambda of_pass, probe: B if of_pass >= turn and probe < probes else A


def test_the_first_replies_are_what_later_ones_are_compared_with() -> None:
    """Changed labels and total variation add up over the passes that have ended."""

    def teacher(of_pass: int, probe: int) -> Observation:
        if of_pass == 0 or probe > 1:
            return A
        return B if probe == 0 else NEARLY_A

    watch, changes = after(passes(teacher, 0, 3, probes=4))
    assert (watch.passes, changes) == (1, [])
    assert watch.going_on is not None
    assert watch.going_on.compared == watch.total
    assert (watch.total.replies, watch.total.changed) == (4, 1)
    assert watch.total.variation == pytest.approx(0.7 + 0.1)


def test_a_change_of_the_answers_is_found_with_its_evidence() -> None:
    """A fifth of the labels moves after ten quiet passes: found within a few passes, and nothing before."""
    teacher = changed_from(10, 10)
    watch, changes = after(passes(teacher, 0, 10, probes=50))
    assert changes == []
    watch, changes = after(passes(teacher, 10, 8, probes=50), watch)
    (change,) = changes
    assert change.kind is ChangeKind.ANSWERS
    assert (change.evidence["replies"], change.evidence["changed"]) == (50, 10)
    assert change.evidence["mean_variation"] == pytest.approx(0.2 * 0.7)
    assert change.evidence["null"] == pytest.approx(upper_bound(0, 150, 0.05) + SECTION.tolerance)
    assert change.evidence["change_us"] == 1_000_000 + 10 * PASS_US


def test_after_a_change_the_new_answers_are_the_first_ones() -> None:
    """The changed teacher is not found once more."""
    _, changes = after(passes(changed_from(6, 20), 0, 60))
    assert [change.kind for change in changes] == [ChangeKind.ANSWERS]


@pytest.mark.parametrize("spread", [0.0, 0.2])
def test_a_noisy_teacher_is_no_changed_one(spread: float) -> None:
    """False changes stay within the budget, also where its noise sits in a few of the probes alone."""
    years, wanted = 8.0, 1.0
    section = ProbeSection(every_hours=24, false_changes_per_year=wanted)
    found = 0
    for seed in range(8):
        draw = random.Random(seed)
        noise = [0.02 if spread == 0.0 else spread if probe < 2 else 0.0 for probe in range(20)]

        def teacher(
            of_pass: int, probe: int, draw: random.Random = draw, noise: list[float] = noise
        ) -> Observation:
            return B if draw.random() < noise[probe] else A

        _, changes = after(passes(teacher, 0, 365), section=section)
        found += len(changes)
    assert found <= years * wanted + 3 * (years * wanted) ** 0.5


def test_what_was_not_answered_counts_as_unchanged() -> None:
    """A teacher that fails is no changed teacher; the failures are counted."""
    watch, _ = after(passes(steady, 0, 6))
    down = [build_reply(probe, 6 + number, None) for number in range(5) for probe in range(20)]
    watch, changes = after([*down, *passes(steady, 11, 2)], watch)
    assert (watch.failures, changes) == (100, [])
    assert watch.detector is not None
    assert watch.detector.totals[1] == 0


def test_one_reply_a_pass_counts_for_each_probe() -> None:
    """Who is asked twice, as after a kill, gives evidence once."""
    watch, _ = after(passes(steady, 0, 1))
    once, _ = after([build_reply(3, 1, B)], watch)
    twice, _ = after([build_reply(3, 1, B), build_reply(3, 1, B)], watch)
    assert once == twice


def test_versions_and_fingerprints_are_told_when_they_are_new() -> None:
    """The first is no change, each other one is one once: a fleet of two servers is not a changing teacher."""
    told = [("1", "fp_a"), ("1", "fp_b"), ("2", "fp_a"), ("1", "fp_b"), ("2", None)]
    replies = [
        build_reply(0, number, version=version, fingerprint=fingerprint)
        for number, (version, fingerprint) in enumerate(told)
    ]
    _, changes = after(replies)
    assert [(one.kind, one.before, one.after) for one in changes] == [
        (ChangeKind.FINGERPRINT, "fp_a", "fp_b"),
        (ChangeKind.VERSION, "1", "2"),
    ]


def test_another_set_begins_anew() -> None:
    """Its requests are other ones."""
    watch, _ = after(passes(steady, 0, 6))
    watch, changes = after([build_reply(0, 6, B, probe_set="other")], watch)
    assert (watch.probe_set, watch.passes, watch.total, changes) == ("other", 0, Compared(), [])


def test_an_input_that_only_one_of_the_two_could_answer_is_changed() -> None:
    """An error in place of probabilities is another answer; the same error twice is none."""
    failed = Observation(None, ObservationError.NOT_FINITE)
    first = [build_reply(0, 0, A), build_reply(1, 0, failed)]
    second = [build_reply(0, 1, failed), build_reply(1, 1, failed), build_reply(0, 2, A)]
    watch, _ = after([*first, *second])
    assert watch.total == Compared(2, 1, 1.0)


def test_the_state_reads_back_bit_for_bit() -> None:
    """Through the JSON of the control file, in the middle of a pass."""
    watch, _ = after([*passes(changed_from(3, 1), 0, 8), build_reply(0, 8, NEARLY_A, version="1")])
    assert watch.detector is not None
    again = read_watch(plain(watch))
    assert again == watch
    assert again.detector is not None
    assert to_json(again.detector) == to_json(watch.detector)
    assert read_watch({**plain(watch), "format": 0}) is None


def test_the_null_waits_for_the_baseline() -> None:
    """Before it the teacher's own noise is not known, and nothing is tested."""
    watch, _ = after(passes(steady, 0, BASELINE_PASSES + 1))
    assert watch.detector is None
    watch, _ = after(passes(steady, BASELINE_PASSES + 1, 1), watch)
    assert watch.detector is not None
    assert watch.baseline.replies == 20 * BASELINE_PASSES
