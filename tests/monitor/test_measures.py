"""The measures of many pairs: to the last bit those of the definitions, pair by pair."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.observation import Observation
from monitor.histograms import UNIT
from monitor.measures import Measures, closeness, measures_of
from monitor.sums import SliceSums, filled
from monitor.temperature import BETAS
from tests.monitor.world import build_pair

Distribution = tuple[float, ...]

EXAMPLES = 40
EXTREMES = (0.0, 5e-324, 1e-300, 1e-12, 9.999999999e-13, 1.0000000001e-12, 1e-9, 0.5, 1.0)


def distributions(classes: int) -> st.SearchStrategy[Distribution]:
    """Anything that observe() lets through, zeros and numbers at every floor among them."""
    weights = st.lists(
        st.one_of(st.sampled_from(EXTREMES), st.floats(0, 1)), min_size=classes, max_size=classes
    )
    return weights.filter(lambda w: sum(w) > 0.01).map(lambda w: tuple(weight / sum(w) for weight in w))


def both_sides() -> st.SearchStrategy[list[tuple[Distribution, Distribution]]]:
    def of(classes: int) -> st.SearchStrategy[list[tuple[Distribution, Distribution]]]:
        return st.lists(st.tuples(distributions(classes), distributions(classes)), min_size=1, max_size=8)

    return st.integers(2, 9).flatmap(of)


def measured(pairs: Sequence[tuple[Distribution, Distribution]]) -> Measures:
    teacher, student = (np.array([pair[side] for pair in pairs]) for side in (0, 1))
    return measures_of(teacher, student)


def rows_of(measures: Measures) -> list[tuple[int, ...]]:
    columns = (
        measures.teacher_top,
        measures.student_top,
        measures.total_variation,
        measures.divergence_bits,
        measures.kl_nats,
        measures.kl_clipped,
        measures.brier,
        measures.nll_nats,
        *measures.tempered.T,
    )
    return [tuple(row) for row in zip(*(column.tolist() for column in columns), strict=True)]


def defined(teacher: Distribution, student: Distribution) -> tuple[int, ...]:
    """The same by SliceSums.of_pair."""
    p, q = Observation(teacher), Observation(student)
    sums = SliceSums.of_pair(build_pair(p, q))
    return (
        p.top,
        q.top,
        sums.total_variation,
        sums.divergence_bits,
        sums.kl_nats,
        sums.kl_clipped,
        sums.brier,
        sums.nll_nats,
        *filled(sums.tempered_nats, len(BETAS) + 1),
    )


@settings(max_examples=EXAMPLES)
@given(both_sides())
def test_every_measure_is_that_of_the_definition(pairs: list[tuple[Distribution, Distribution]]) -> None:
    """Zeros, ties, certain answers, probabilities beside the floor and far below it."""
    assert rows_of(measured(pairs)) == [defined(*pair) for pair in pairs]


@pytest.mark.parametrize(("classes", "sharpness"), [(2, 1.0), (4, 0.05), (20, 1.0), (77, 0.1)])
def test_thousands_of_random_pairs_leave_no_difference(classes: int, sharpness: float) -> None:
    """Roundings that could fall either way come up in every hundred pairs, so these hold some."""
    generator = np.random.default_rng(classes)
    count = 40_000 // (classes + 10)
    sides = [generator.dirichlet(np.full(classes, sharpness), count) for _ in range(2)]
    pairs = [(tuple(p), tuple(q)) for p, q in zip(sides[0].tolist(), sides[1].tolist(), strict=True)]

    assert rows_of(measures_of(*sides)) == [defined(*pair) for pair in pairs]


@settings(max_examples=EXAMPLES)
@given(both_sides(), st.data())
def test_a_pair_is_measured_alike_in_any_company(
    pairs: list[tuple[Distribution, Distribution]], draw: st.DataObject
) -> None:
    """How many pairs are looked at together, and in which order, changes nothing."""
    order = draw.draw(st.permutations(range(len(pairs))))

    together = rows_of(measured([pairs[place] for place in order]))

    assert together == [rows_of(measured([pairs[place]]))[0] for place in order]


@settings(max_examples=EXAMPLES)
@given(both_sides())
def test_closeness_is_what_is_kept_before_rounding(pairs: list[tuple[Distribution, Distribution]]) -> None:
    """Agreement, total variation and divergence alone."""
    teacher, student = (np.array([pair[side] for pair in pairs]) for side in (0, 1))
    agrees, variation, bits = closeness(teacher, student)
    measures = measures_of(teacher, student)

    assert agrees.tolist() == measures.agrees.tolist()
    assert variation * UNIT == pytest.approx(measures.total_variation, abs=1)
    assert bits * UNIT == pytest.approx(measures.divergence_bits, abs=1)
