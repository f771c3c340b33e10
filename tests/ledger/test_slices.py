"""Slice rules as pure functions."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from ledger.languages import LANGUAGES, _identifier, language_of
from ledger.patterns import READ_CHARACTERS, is_found, pattern_problem
from ledger.slices import OVERALL, SliceRule, Subject, rule_of, serving_slices_of, slices_of, subject_of
from tests.ledger.builders import build_exchange

AREA = SliceRule("area", "header", header="x-area")
TIER = SliceRule("tier", "pointer", pointer="/customer/tier")
WORDS = SliceRule("words", "words", word_edges=(50, 150))
SIZE = SliceRule("size", "characters", character_edges=(3,))
LANGUAGE = SliceRule("language", "language", languages=("de", "en"))
SHIFT = SliceRule("shift", "hours", hours=(6, 18), time_zone="Europe/Berlin")
REFUND = SliceRule("refund", "pattern", pattern="(?i)refund|money back")
DESK = SliceRule("desk", "teacher_class")
RULES = (AREA, WORDS, DESK)
EVERY = (AREA, TIER, WORDS, SIZE, LANGUAGE, SHIFT, REFUND, DESK)


def combination(*parts: SliceRule) -> SliceRule:
    return SliceRule("both", "of", parts=parts)


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1e6)


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
    """A missing header, an unknown teacher class and a text that is not stored put nothing into a slice."""
    assert slices_of(EVERY, Subject({}, 60)) == (OVERALL, "words=50-149", "shift=18:00-06:00")


def test_who_serves_is_decided_by_the_request_alone() -> None:
    """A slice over the teacher's answer never decides who serves, nor does a combination with one."""
    subject = Subject({"x-area": "a"}, 60, "sci")

    assert serving_slices_of(RULES, subject) == (OVERALL, "area=a", "words=50-149")
    assert serving_slices_of([combination(AREA, DESK)], subject) == (OVERALL,)
    assert serving_slices_of([combination(AREA, WORDS)], subject) == (OVERALL, "both=a & 50-149")


def test_a_hostile_value_is_cut() -> None:
    """A slice name has a bounded length whatever a caller sends."""
    attributes = {"x-area": "x" * 10_000, "/customer/tier": "&" * 10_000}
    names = slices_of([AREA, TIER, combination(AREA, TIER)], Subject(attributes, 1))

    assert [len(name) for name in names[1:]] == [len("area=") + 80, len("tier=") + 80, len("both= & ") + 240]


@pytest.mark.parametrize(("name", "rule"), [("area=x=y", AREA), ("all", None), ("gone=1", None)])
def test_a_slice_knows_its_rule(name: str, rule: SliceRule | None) -> None:
    """Values may hold the separator; the overall slice has no rule."""
    assert rule_of(RULES, name) is rule


@pytest.mark.parametrize(("text", "band"), [("ab", "0-2"), ("äöü", "3+"), ("a" * 90, "3+")])
def test_characters_are_counted_not_bytes(text: str, band: str) -> None:
    """A letter with an accent is one."""
    assert slices_of([SIZE], Subject({}, 1, text=text)) == (OVERALL, f"size={band}")


@pytest.mark.parametrize(
    ("moment", "band"),
    [
        ("2026-01-15T04:59:59", "18:00-06:00"),  # 05:59 in Berlin
        ("2026-01-15T05:00:00", "06:00-18:00"),
        ("2026-07-15T04:00:00", "06:00-18:00"),  # 06:00 in summer time
        ("2026-07-15T16:00:00", "18:00-06:00"),
        ("2026-01-15T23:30:00", "18:00-06:00"),  # after midnight
    ],
)
def test_hours_are_those_of_the_zone(moment: str, band: str) -> None:
    """Summer time included; the last band goes on past midnight."""
    assert slices_of([SHIFT], Subject({}, 1, at_us=at(moment))) == (OVERALL, f"shift={band}")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("Guten Tag, meine Rechnung stimmt leider nicht", "de"),
        ("My printer does not print anything since the update", "en"),
        ("Bonjour, je voudrais annuler ma commande", "other"),
        ("42", "unclear"),
        ("ok", "unclear"),
    ],
)
def test_languages_that_are_told_apart(text: str, value: str) -> None:
    """Others are one slice, and so is what is too short to tell."""
    assert slices_of([LANGUAGE], Subject({}, 1, text=text)) == (OVERALL, f"language={value}")


def test_every_language_of_the_model_can_be_declared() -> None:
    """The list in the code is the model's; what it takes for no language at all is no language."""
    assert set(_identifier().labels) - {"zxx"} == LANGUAGES


def test_a_language_is_the_same_every_time() -> None:
    """Whatever was asked before."""
    texts = ["Wie geht es Ihnen heute?", "How are you today?", "Comment allez-vous aujourd'hui ?"] * 3

    assert [language_of(text) for text in texts] == ["de", "en", "fr"] * 3


def test_a_pattern_says_yes_or_no() -> None:
    """Anywhere in the text."""
    found = [slices_of([REFUND], Subject({}, 1, text=text))[1] for text in ("a REFUND, please", "hello")]

    assert found == ["refund=yes", "refund=no"]


def test_a_hostile_text_takes_no_longer() -> None:
    """What makes a backtracking matcher take for ever is answered at once, and no text is read to its end."""
    assert not is_found("(a+)+(a+)+(a+)+$b", "a" * 10**6)
    assert is_found("^a+b", "a" * (READ_CHARACTERS - 1) + "b")
    assert not is_found("^a+b", "a" * READ_CHARACTERS + "b")
    assert not is_found("b", "\ud800")  # half of a surrogate pair is no text, and no error


def test_what_is_wrong_with_a_pattern_is_told() -> None:
    """RE2 has neither back references nor unbounded repetition."""
    assert pattern_problem("a|b") is None
    assert [bool(pattern_problem(one)) for one in (r"(a)\1", "(?<=a)b", "[", "x{2000}")] == [True] * 4


@pytest.mark.parametrize(
    ("values", "name"),
    [
        (("n", "gold"), "n & gold"),
        (("a & b", "c"), "a && b & c"),
        (("a", "b & c"), "a & b && c"),
        (("n", ""), ""),
    ],
)
def test_combinations_have_names_of_their_own(values: tuple[str, str], name: str) -> None:
    """No two share one, whatever callers send; without one of the values there is none."""
    attributes = dict(zip(("x-area", "/customer/tier"), values, strict=True))
    names = slices_of([combination(AREA, TIER)], Subject(attributes, 1))

    assert names[1:] == ((f"both={name}",) if name else ())


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (AREA, (False, True, False, True)),
        (TIER, (False, True, False, True)),
        (WORDS, (False, False, False, False)),
        (SIZE, (True, False, False, False)),
        (LANGUAGE, (True, False, True, False)),
        (SHIFT, (False, False, False, True)),
        (REFUND, (True, False, False, False)),
        (combination(AREA, SHIFT), (False, True, False, True)),
        (combination(AREA, LANGUAGE), (True, True, True, False)),
    ],
)
def test_what_a_rule_costs_and_needs(rule: SliceRule, expected: tuple[bool, ...]) -> None:
    """A combination needs what either part needs, and is known early only if both are."""
    assert (rule.reads_text, rule.is_open, rule.is_slow, rule.holds_for_all_inputs) == expected


@pytest.mark.parametrize(
    ("change", "same"),
    [({"bar": 0.9}, True), ({"critical": True, "bar": 0.9}, True), ({"header": "x-other"}, False)],
)
def test_a_definition_is_what_divides_pairs(change: dict[str, Any], same: bool) -> None:
    """Bars may change without another measurement."""
    assert (replace(AREA, **change).definition == AREA.definition) is same
    assert len({rule.definition for rule in EVERY}) == len(EVERY)


def test_a_subject_is_one_stored_input() -> None:
    """Its text is empty where none is kept."""
    exchange = build_exchange(inputs=("one", "two words"), input_words=(1, 2))

    assert subject_of(exchange, 1, "sci") == Subject({"x-area": "a"}, 2, "sci", "two words", 1_000_000)
    assert subject_of(exchange._replace(inputs=()), 1, None).text == ""
