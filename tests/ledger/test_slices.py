"""Slice rules as pure functions."""

import pytest

from ledger.slices import OVERALL, SliceRule, Subject, rule_of, serving_slices_of, slices_of

AREA = SliceRule("area", "header", header="x-area")
WORDS = SliceRule("words", "words", word_edges=(50, 150))
DESK = SliceRule("desk", "teacher_class")
RULES = (AREA, WORDS, DESK)


@pytest.mark.parametrize(
    ("words", "band"),
    [(0, "0-49"), (49, "0-49"), (50, "50-149"), (149, "50-149"), (150, "150+"), (10**9, "150+")],
)
def test_a_length_band_includes_its_lower_edge(words: int, band: str) -> None:
    """Every length is in exactly one band."""
    assert slices_of([WORDS], Subject({}, words)) == (OVERALL, f"words={band}")


def test_a_subject_is_in_every_slice_that_it_shows() -> None:
    """Overlapping slices are all reported, the overall one first."""
    subject = Subject({"x-area": " sci.space "}, 60, "sci")

    assert slices_of(RULES, subject) == (OVERALL, "area=sci.space", "words=50-149", "desk=sci")


def test_a_rule_without_a_value_gives_no_slice() -> None:
    """A missing header and an unknown teacher class put nothing into a slice."""
    assert slices_of(RULES, Subject({}, 60)) == (OVERALL, "words=50-149")


def test_who_serves_is_decided_by_the_request_alone() -> None:
    """A slice over the teacher's answer never decides who serves."""
    subject = Subject({"x-area": "a"}, 60, "sci")

    assert serving_slices_of(RULES, subject) == (OVERALL, "area=a", "words=50-149")


def test_a_hostile_header_value_is_cut() -> None:
    """A slice name has a bounded length whatever a caller sends."""
    names = slices_of([AREA], Subject({"x-area": "x" * 10_000}, 1))

    assert len(names[1]) <= len("area=") + 80


@pytest.mark.parametrize(("name", "rule"), [("area=x=y", AREA), ("all", None), ("gone=1", None)])
def test_a_slice_knows_its_rule(name: str, rule: SliceRule | None) -> None:
    """Values may hold the separator; the overall slice has no rule."""
    assert rule_of(RULES, name) is rule
