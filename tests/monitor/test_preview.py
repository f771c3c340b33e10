"""The preview: what the sums say at each threshold, and in words what they do not."""

import random
from pathlib import Path
from typing import Any

import orjson
import pytest

from ledger.configuration import TaskSection
from ledger.observation import Observation
from ledger.slices import OVERALL
from monitor.certificate import saved_share
from monitor.intervals import confidence_sequence
from monitor.pairs import Pair
from monitor.preview import MONEY_INPUTS, AtThreshold, preview_of
from monitor.sums import SliceSums, merged
from tests.monitor.world import build_configuration, build_pair

A, B = 0, 1  # classes
PAIRS = 600


def task(tmp_path: Path, **changes: Any) -> TaskSection:
    return build_configuration(tmp_path, **changes).task[0]


def told(top: int, confidence: float) -> Observation:
    rest = 1 - confidence
    return Observation((confidence, rest) if top == A else (rest, confidence))


def some_pairs(count: int = PAIRS) -> list[tuple[Pair, int]]:
    """Pairs with their labels: the surer the student, the rarer it differs; the teacher errs in one of ten."""
    draw = random.Random(2)
    found = []
    for _ in range(count):
        truth, confidence = draw.randrange(2), draw.choice([0.55, 0.65, 0.75, 0.85, 0.95])
        teacher = truth if draw.random() < 0.9 else 1 - truth
        student = teacher if draw.random() < confidence else 1 - teacher
        pair = build_pair(
            told(teacher, 0.9), told(student, confidence), student_latency_us=900, teacher_latency_us=40_000
        )
        found.append((pair, truth))
    return found


def sums_of(pairs: list[tuple[Pair, int]], labelled: bool = True) -> SliceSums:
    parts = [SliceSums.of_pair(pair) for pair, _ in pairs]
    parts += [SliceSums.of_label(pair, label) for pair, label in pairs] if labelled else []
    return merged(parts)


def at(rows: tuple[AtThreshold, ...], threshold: float) -> AtThreshold:
    return next(row for row in rows if row.threshold >= threshold)


def test_a_threshold_counts_what_is_above_it(tmp_path: Path) -> None:
    """Coverage, disagreement and both accuracies, over the same inputs, with bounds that hold at every look."""
    pairs = some_pairs()
    row = at(preview_of({OVERALL: sums_of(pairs)}, task(tmp_path), {}, {}).thresholds, 0.8)

    above = [(pair, label) for pair, label in pairs if pair.student.confidence >= 0.8]
    assert (row.coverage.part, row.coverage.whole) == (len(above), PAIRS)
    assert row.disagreement.part == sum(not pair.agrees for pair, _ in above)
    assert (row.joint_disagreement.part, row.joint_disagreement.whole) == (row.disagreement.part, PAIRS)
    assert row.accuracy.part == sum(pair.student.top == label for pair, label in above)
    assert row.teacher_accuracy.part == sum(pair.teacher.top == label for pair, label in above)
    assert row.accuracy.whole == row.teacher_accuracy.whole == len(above)
    bounds = confidence_sequence(len(above), PAIRS, 0.05)
    assert (row.coverage.low, row.coverage.high) == pytest.approx(bounds)


def test_the_joint_risk_falls_with_the_threshold_whatever_the_selective_one_does(tmp_path: Path) -> None:
    """Here the surest answers are the wrong ones."""
    pairs = [(build_pair(told(A, 0.9), told(A if sure < 0.8 else B, sure)), A) for sure in (0.6, 0.7, 0.9)]
    rows = preview_of({OVERALL: sums_of(pairs)}, task(tmp_path), {}, {}).thresholds

    assert [row.disagreement.value for row in rows] == pytest.approx([1 / 3, 1 / 2, 1])
    assert [row.joint_disagreement.value for row in rows] == pytest.approx([1 / 3] * 3)


def test_a_share_of_the_traffic_scales_what_is_served_and_saved(tmp_path: Path) -> None:
    """Money follows from the coverage, the student's cost, the audits and the declared cost of a call."""
    section = task(
        tmp_path,
        teacher={"url": "http://127.0.0.1:1", "version": "1", "call_cost": 0.002},
        fallback={"student_cost": 0.05, "audit_share": 0.02},
    )
    row = at(preview_of({OVERALL: sums_of(some_pairs())}, section, {}, {}, shares=(0.2, 1.0)).thresholds, 0.8)

    fifth, whole = row.at_shares
    assert row.coverage.value is not None
    assert row.coverage.low is not None
    assert fifth.served.value == pytest.approx(0.2 * row.coverage.value)
    assert whole.saved.low == pytest.approx(saved_share(row.coverage.low, 0.05, 0.02))
    assert fifth.money is not None
    expected = MONEY_INPUTS * 0.002 * 0.2 * saved_share(row.coverage.value, 0.05, 0.02)
    assert fifth.money.value == pytest.approx(expected)


def test_the_certified_row_is_marked_and_the_joint_one_honours_every_slice(tmp_path: Path) -> None:
    """A slice without a threshold stays with the teacher, whatever the overall one would accept."""
    pairs = some_pairs()
    halves = {"area=a": sums_of(pairs[::2]), "area=b": sums_of(pairs[1::2])}
    found = preview_of(
        {OVERALL: sums_of(pairs), **halves},
        task(tmp_path),
        {OVERALL: 0.6, "area=a": 0.8},
        {"area=b": "9 of 30"},
    )

    assert [row.threshold for row in found.thresholds if row.is_certified] == [0.6]
    assert found.as_certified is not None
    served = sum(pair.student.confidence >= 0.8 for pair, _ in pairs[::2])
    assert found.as_certified.coverage.part_low == found.as_certified.coverage.part_high == served
    by_slice = {line.slice: line for line in found.slices}
    certified = by_slice["area=a"].certified
    assert certified is not None
    assert certified.threshold == 0.8
    assert by_slice["area=b"].why_not == (
        "the certificate of area=b is void (9 of 30), so the teacher serves it"
    )


def test_a_slice_is_served_from_the_higher_of_two_thresholds(tmp_path: Path) -> None:
    """Its own and the overall one; without the overall one it is not served at all."""
    sums = {OVERALL: sums_of(some_pairs()), "area=a": sums_of(some_pairs())}
    section = task(tmp_path)

    found = preview_of(sums, section, {OVERALL: 0.8, "area=a": 0.6}, {}, slice_name="area=a")
    assert found.threshold == 0.8
    assert [row.threshold for row in found.thresholds if row.is_certified] == [0.8]
    measuring = preview_of(sums | {"desk=x": sums_of(some_pairs())}, section, {OVERALL: 0.8}, {}, "desk=x")
    assert measuring.threshold == 0.8
    assert "desk=x" not in {line.slice for line in measuring.slices}
    alone = preview_of(sums, section, {"area=a": 0.6}, {}, slice_name="area=a")
    assert alone.threshold is None
    assert any("no threshold is certified for all" in why for why in alone.cannot_say)


def test_latency_of_both_sides_has_three_quantiles_with_bounds(tmp_path: Path) -> None:
    """In seconds, from the histograms."""
    found = preview_of({OVERALL: sums_of(some_pairs())}, task(tmp_path), {}, {}).latency_seconds

    for side, seconds in (("student", 0.0009), ("teacher", 0.04)):
        assert list(found[side]) == ["p50", "p95", "p99"]
        median = found[side]["p50"]
        assert median.low is not None
        assert median.high is not None
        assert median.low <= seconds <= median.high


def test_what_it_cannot_say_is_said(tmp_path: Path) -> None:
    """Nothing to preview; few pairs; no label; no cost; no certificate; no latency."""
    section = task(tmp_path)
    nothing = preview_of({}, section, {}, {})
    assert nothing.thresholds == ()
    assert [why.split(",")[0] for why in nothing.cannot_say] == ["all has no pair in this time"]

    bare = SliceSums(pairs=20, agreements=20, coverage_pairs=((90, 20),))
    said = "\n".join(preview_of({OVERALL: bare}, section, {}, {}).cannot_say)
    for part in (
        "20 pairs are few",
        "no label has come",
        "call_cost is not set",
        "no threshold is certified for all",
        "no pair has a latency of the student",
        "no pair has a latency of the teacher",
    ):
        assert part in said


def test_labels_of_an_earlier_release_leave_the_teachers_accuracy_open(tmp_path: Path) -> None:
    """It counted the student's errors by confidence and not the teacher's: unknown is not 100 %."""
    sums = sums_of(some_pairs())
    plain = sums.to_json()
    del plain["label_coverage_teacher_errors"]
    found = preview_of({OVERALL: SliceSums.from_json(plain)}, task(tmp_path), {}, {})

    row = at(found.thresholds, 0.8)
    assert row.accuracy.value is not None
    assert row.teacher_accuracy.value is None
    assert any("earlier release" in why for why in found.cannot_say)


def test_a_threshold_above_the_grid_is_not_guessed(tmp_path: Path) -> None:
    """What lies between its last edge and 1 is one bin."""
    found = preview_of({OVERALL: sums_of(some_pairs())}, task(tmp_path), {OVERALL: 0.995}, {})

    assert not any(row.is_certified for row in found.thresholds)
    assert found.slices[0].certified is None
    assert any("0.9950 lies above 0.99" in why for why in found.cannot_say)


def test_the_document_is_plain(tmp_path: Path) -> None:
    """As JSON it says the same."""
    found = preview_of({OVERALL: sums_of(some_pairs(50))}, task(tmp_path), {OVERALL: 0.6}, {})
    assert orjson.loads(orjson.dumps(found.plain()))["as_certified"]["coverage"]["whole_low"] == 50
