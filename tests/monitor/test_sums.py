"""The laws of slice sums: any split and any order gives the same integers."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import fields

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.labels import LEAST_PROBABILITY
from ledger.observation import Observation
from ledger.spots import NOWHERE, SPOTS
from monitor.histograms import UNIT
from monitor.pairs import Pair
from monitor.sums import SliceSums, merged
from tests.monitor.world import A, B, build_pair

FIELDS = [field.name for field in fields(SliceSums)]


def observations() -> st.SearchStrategy[Observation]:
    weights = st.lists(st.floats(0, 1), min_size=3, max_size=3).filter(lambda w: sum(w) > 0.01)
    distributions = weights.map(lambda w: Observation(tuple(weight / sum(w) for weight in w)))
    return st.builds(
        lambda said, other, spot: said._replace(other=other, spot=spot),
        distributions,
        st.floats(0, 1),
        st.integers(NOWHERE, SPOTS - 1),
    )


def pairs() -> st.SearchStrategy[Pair]:
    return st.builds(
        build_pair,
        observations(),
        observations(),
        words=st.integers(0, 20_000),
        student_latency_us=st.one_of(st.none(), st.integers(0, 2**31)),
        teacher_latency_us=st.one_of(st.none(), st.integers(0, 2**31)),
    )


def sums() -> st.SearchStrategy[SliceSums]:
    labelled = st.builds(
        lambda pair, label, chosen: SliceSums.of_pair(pair).merge(SliceSums.of_label(pair, label, chosen)),
        pairs(),
        st.integers(0, 2),
        st.sampled_from([1.0, 0.5]) | st.floats(LEAST_PROBABILITY, 1),
    )
    return st.lists(labelled, max_size=4).map(merged)


def any_sums() -> st.SearchStrategy[SliceSums]:
    """Anything in every field that there is, whether pairs could have led to it or not."""
    number = st.integers(-(2**70), 2**70)
    vector = st.dictionaries(st.integers(0, 300), number.filter(bool), max_size=4)
    empty = SliceSums.empty()
    return st.builds(
        SliceSums,
        **{
            name: number if getattr(empty, name) == 0 else vector.map(lambda v: tuple(sorted(v.items())))
            for name in FIELDS
        },
    )


@given(any_sums(), any_sums(), any_sums())
def test_merging_is_associative(a: SliceSums, b: SliceSums, c: SliceSums) -> None:
    """Grouping does not matter, to the last bit of every field."""
    assert a.merge(b).merge(c) == a.merge(b.merge(c)) == merged((a, b, c))


@given(any_sums(), any_sums())
def test_merging_is_commutative(a: SliceSums, b: SliceSums) -> None:
    """Order does not matter."""
    assert a.merge(b) == b.merge(a)


@given(any_sums())
def test_empty_sums_change_nothing(a: SliceSums) -> None:
    """They are the identity of merging, and what is left when everything is taken back."""
    assert a.merge(SliceSums.empty()) == SliceSums.empty().merge(a) == a
    assert a.subtract(a) == SliceSums.empty()
    assert merged(()) == SliceSums.empty()


def test_pairs_and_labels_fill_every_field() -> None:
    """So that the laws of splits, which are tested with pairs, are about every field."""
    unlike = build_pair(
        Observation((0.9, 0.1, 0.0), other=0.1),
        Observation((0.0, 0.3, 0.7), spot=17),
        words=9,
        student_latency_us=70,
        teacher_latency_us=90,
    )
    alike = build_pair(A, A)
    labels = [SliceSums.of_label(pair, label, 0.5) for pair in (unlike, alike) for label in (0, 1, 2)]
    found = merged([SliceSums.of_pair(unlike), SliceSums.of_pair(alike), *labels])

    assert [name for name in FIELDS if not getattr(found, name)] == []


@given(st.lists(pairs(), max_size=12), st.data())
def test_any_split_gives_the_same_bytes(many: Sequence[Pair], draw: st.DataObject) -> None:
    """Windows, ticks and processes may cut the pairs wherever they like."""
    cuts = sorted(draw.draw(st.lists(st.integers(0, len(many)), max_size=4)))
    bounds = [0, *cuts, len(many)]
    parts = [
        merged(SliceSums.of_pair(pair) for pair in many[low:high]) for low, high in itertools.pairwise(bounds)
    ]
    whole = merged(SliceSums.of_pair(pair) for pair in many)

    assert orjson.dumps(merged(parts).to_json()) == orjson.dumps(whole.to_json())


@given(any_sums(), any_sums())
def test_a_correction_is_as_if_the_old_label_had_never_come(a: SliceSums, b: SliceSums) -> None:
    """Subtracting undoes merging."""
    assert a.merge(b).subtract(b) == a


@given(sums())
def test_sums_survive_json(a: SliceSums) -> None:
    """What is stored reads back equal."""
    assert SliceSums.from_json(orjson.loads(orjson.dumps(a.to_json()))) == a


def test_sums_of_an_earlier_release_are_read() -> None:
    """Fields that it did not know are 0, and what is divided by them is undefined, not wrong."""
    old = SliceSums.from_json({"format": 1, "pairs": 3, "agreements": 2, "coverage_pairs": [[90, 3]]})
    both = old.merge(SliceSums.of_pair(build_pair(A, A)))

    assert (both.pairs, both.measured) == (4, 1)
    assert both.fidelity == 0.75
    assert both.coverage_pairs == ((90, 4),)


def test_sums_of_another_format_are_refused() -> None:
    """Adding up bins of different edges would be silent nonsense."""
    with pytest.raises(ValueError, match="format 3 cannot be read"):
        SliceSums.from_json({"format": 3, "pairs": 1})


def test_ratios_of_two_pairs() -> None:
    """One agreement, one disagreement with known distributions."""
    both = SliceSums.of_pair(build_pair(A, A)).merge(SliceSums.of_pair(build_pair(A, B)))

    assert (both.pairs, both.agreements, both.disagreements) == (2, 1, 1)
    assert both.fidelity == 0.5
    assert both.mean_total_variation == pytest.approx(0.35, abs=1 / UNIT)
    assert both.mean_brier == pytest.approx(0.49, abs=1 / UNIT)
    assert both.calibration_error == pytest.approx((0.1 + 0.8) / 2)
    assert (both.teacher_classes, both.student_classes) == (((0, 2),), ((0, 1), (1, 1)))


def test_accepted_counts_hold_at_their_thresholds() -> None:
    """Confidence at a threshold counts as accepted; accepted pairs can only grow towards lower ones."""
    both = SliceSums.of_pair(build_pair(A, A)).merge(SliceSums.of_pair(build_pair(A, B)))

    assert both.accepted[0] == (2, 1)
    assert both.accepted[80] == (2, 1)
    assert both.accepted[81] == (1, 0)
    assert both.accepted[90] == (1, 0)
    assert both.accepted[91] == (0, 0)


def test_labels_fill_the_two_by_two_table() -> None:
    """Teacher and student are each judged against the truth."""
    agreeing, differing = build_pair(A, A), build_pair(A, B)
    table = merged(
        [
            SliceSums.of_label(agreeing, 0),
            SliceSums.of_label(agreeing, 1),
            SliceSums.of_label(differing, 0),
            SliceSums.of_label(differing, 1),
        ]
    )

    assert (table.both_right, table.both_wrong) == (1, 1)
    assert (table.teacher_alone_right, table.student_alone_right) == (1, 1)
    assert (table.accuracy, table.teacher_accuracy, table.student_regret) == (0.5, 0.5, 0.25)
    assert table.label_calibration_error == pytest.approx(0.35)


def test_nothing_divides_to_nan() -> None:
    """An empty slice has no fidelity; it is not 0 and not 1."""
    empty = SliceSums.empty()
    for ratio in (
        empty.fidelity,
        empty.accuracy,
        empty.teacher_accuracy,
        empty.student_regret,
        empty.calibration_error,
        empty.debiased_calibration_error,
        empty.label_calibration_error,
        empty.mean_divergence_bits,
        empty.mean_kl_nats,
        empty.mean_nll_nats,
    ):
        assert math.isnan(ratio)


def test_labelled_errors_of_both_are_counted_by_the_students_confidence() -> None:
    """At or above each threshold: labelled pairs, the student's errors, the teacher's errors."""
    sure = build_pair(Observation((0.6, 0.4)), Observation((0.1, 0.9)))
    unsure = build_pair(Observation((0.3, 0.7)), Observation((0.45, 0.55)))
    parts = [SliceSums.of_label(sure, 0), SliceSums.of_label(unsure, 0)]
    found = merged(parts)

    assert found.label_accepted[0] == (2, 2, 1)
    assert found.label_accepted[80] == (1, 1, 0)
    assert found.label_accepted[95] == (0, 0, 0)
    assert found.has_teacher_errors
    older = SliceSums.from_json(
        {name: value for name, value in found.to_json().items() if name != "label_coverage_teacher_errors"}
    )
    assert not older.has_teacher_errors
