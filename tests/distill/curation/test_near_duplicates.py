"""Which texts are the same, and which nearly."""

import numpy as np
import pytest

from distill.curation.near_duplicates import near_groups, near_to_any
from distill.curation.texts import exact_key, jaccard, lists_of, phrases, shingles
from tests.distill.curation.words import write_text

LONG = write_text(0, 0, 60)


def changed(text: str, place: int, word: str = "changed") -> str:
    words = text.split()
    words[place] = word
    return " ".join(words)


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("a  b\n c ", "a b c", True),
        ("\ufb01le", "file", True),  # a ligature is two letters
        ("caf\u00e9", "cafe\u0301", True),
        ("Help", "help", False),
        ("a b", "ab", False),
        ("\ud800", "\ud801", False),  # half of a pair, as broken clients send them
    ],
)
def test_the_key_ignores_white_space_and_forms(one: str, other: str, is_same: bool) -> None:
    """Case and words count."""
    assert (exact_key(one) == exact_key(other)) is is_same


def test_likeness_is_the_share_of_common_runs() -> None:
    """By hand: of 56 runs of five words, a changed word in the middle takes five on each side."""
    assert jaccard(shingles(LONG), shingles(changed(LONG, 30))) == pytest.approx(51 / 61)
    assert jaccard(shingles(LONG), shingles(LONG.upper())) == 1.0


@pytest.mark.parametrize(
    "text", ["", "a", "\u6f22\u5b57" * 50_000, "x " * 50_000, "\U0001f600" * 9, "\ud800"]
)
def test_any_text_has_shingles(text: str) -> None:
    """Empty ones, 100 kB, scripts without spaces: in time, and like themselves."""
    found = shingles(text)
    assert len(found) == len(np.unique(found)) <= 32_768
    assert near_groups([found, found], 0.8) == [0, 0] or not len(found)


def test_near_texts_are_one_group_and_others_their_own() -> None:
    """A chain connects its ends, although these are less alike."""
    chain = [LONG, changed(LONG, 30), changed(changed(LONG, 30), 3, "again")]
    texts = [*chain, *(write_text(number, 0, 60) for number in range(1, 200))]
    groups = near_groups(lists_of(texts), 0.8)
    assert groups[:3] == [0, 0, 0]
    assert groups[3:] == list(range(3, 202))


def test_short_texts_are_compared_by_letters() -> None:
    """A typo in a long word leaves most of the letters' runs."""
    near = near_groups(
        lists_of(["please reset my password now thanks", "please reset my passwort now thanks"]), 0.6
    )
    assert near == [0, 0]


def test_a_flood_of_one_template_is_one_group() -> None:
    """Thousands of copies cost no more than so many texts."""
    copies = [f"{LONG} {number}" for number in range(2000)]
    assert set(near_groups(lists_of(copies), 0.8)) == {0}


def test_near_to_any_of_the_others() -> None:
    """Whatever the place of the other one."""
    others = lists_of([write_text(number, 1, 60) for number in range(50)] + [LONG])
    assert near_to_any(lists_of([changed(LONG, 5), write_text(99, 0, 60)]), others, 0.7) == [True, False]


def test_phrases_are_runs_of_words() -> None:
    """The same phrase in another text is the same number."""
    assert len(phrases("a b c d", 3)) == 2
    assert set(phrases("x a b c", 3)) & set(phrases("a b c y", 3)) == set(phrases("a b c", 3))
    assert len(phrases("a b", 3)) == 0
