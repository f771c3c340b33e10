"""What a certificate would serve: counted input by input, and from the sums of the slices alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from ledger.slices import OVERALL, SliceRule
from monitor.calibration import edges
from monitor.served import served_by
from monitor.sums import COVERAGE_EDGES, SliceSums, edge_at_or_above, merged

AREA, LENGTH = SliceRule("area", "header", "x-area"), SliceRule("length", "words", word_edges=(50,))
CLASS = SliceRule("class", "teacher_class")


@dataclass(frozen=True, slots=True)
class Input:
    """One input at a place of the grid of confidences, and whether teacher and student differ."""

    place: int
    differs: bool
    slices: tuple[str, ...]

    @property
    def sums(self) -> SliceSums:
        return SliceSums(
            pairs=1,
            agreements=int(not self.differs),
            coverage_pairs=((self.place, 1),),
            coverage_disagreements=((self.place, 1),) if self.differs else (),
        )


def inputs() -> st.SearchStrategy[list[Input]]:
    one = st.builds(
        lambda place, differs, area, length: Input(
            place, differs, (OVERALL, *([f"area={area}"] if area else []), f"length={length}")
        ),
        st.integers(0, COVERAGE_EDGES - 1),
        st.booleans(),
        st.sampled_from(["a", "b", "c", ""]),
        st.sampled_from(["0-49", "50+"]),
    )
    return st.lists(one, max_size=40)


def thresholds() -> st.SearchStrategy[dict[str, float]]:
    names = ["area=a", "area=b", "length=0-49", "length=50+"]
    some = st.dictionaries(st.sampled_from(names), st.floats(0, 1))
    return st.builds(lambda least, own: {OVERALL: least} | own, st.floats(0, 1), some)


def sums_of(given: Sequence[Input]) -> dict[str, SliceSums]:
    names = {name for one in given for name in one.slices}
    return {name: merged(one.sums for one in given if name in one.slices) for name in names}


def is_served(one: Input, rules: Sequence[SliceRule], least: Mapping[str, float]) -> bool:
    own = [name for name in one.slices if name == OVERALL or name.split("=")[0] in {r.name for r in rules}]
    return all(name in least and one.place >= edge_at_or_above(least[name]) for name in own)


@given(inputs(), thresholds())
def test_one_rule_is_counted_exactly(given: list[Input], least: dict[str, float]) -> None:
    """Slices of one rule exclude each other."""
    expected = [one for one in given if is_served(one, [AREA], least)]
    found = served_by(sums_of(given), [AREA], least)

    assert (found.coverage.part_low, found.coverage.part_high) == (len(expected), len(expected))
    differing = sum(one.differs for one in expected)
    assert (found.disagreement.part_low, found.disagreement.part_high) == (differing, differing)


@given(inputs(), thresholds())
def test_two_rules_are_bounded_from_both_sides(given: list[Input], least: dict[str, float]) -> None:
    """What is true lies between the counts, and its share within the bounds."""
    expected = [one for one in given if is_served(one, [AREA, LENGTH], least)]
    found = served_by(sums_of(given), [AREA, LENGTH], least)

    assert found.coverage.part_low <= len(expected) <= found.coverage.part_high
    differing = sum(one.differs for one in expected)
    assert found.disagreement.part_low <= differing <= found.disagreement.part_high
    if expected and found.disagreement.low is not None and found.disagreement.high is not None:
        assert found.disagreement.low <= differing / len(expected) <= found.disagreement.high


def test_without_a_threshold_of_all_traffic_nothing_is_served() -> None:
    """However sure the slices are."""
    found = served_by(sums_of([Input(99, False, (OVERALL, "area=a"))]), [AREA], {"area=a": 0.5})
    assert (found.coverage.part_high, found.coverage.value) == (0, 0.0)


def test_a_rule_over_the_teachers_answer_withholds_nothing() -> None:
    """It is not known when serving is decided."""
    given = [Input(60, False, (OVERALL, "class=x")), Input(40, False, (OVERALL, "class=y"))]
    found = served_by(sums_of(given), [CLASS], {OVERALL: 0.5})
    assert found.coverage.value == 0.5


def test_a_threshold_between_two_edges_counts_from_the_next() -> None:
    """Never more than what is really above it."""
    step = edges(COVERAGE_EDGES)
    assert edge_at_or_above(step[30]) == 30
    assert edge_at_or_above(step[30] + 1e-9) == 31
    assert edge_at_or_above(0.999) == COVERAGE_EDGES
    assert Input(99, False, (OVERALL,)).sums.accepted_from(0.999) == (0, 0)
