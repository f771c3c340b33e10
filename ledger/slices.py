"""Slice rules: pure functions from a request (to measure, also the teacher's answer) to slice names."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import orjson

from ledger.exchange import Exchange
from ledger.languages import language_of
from ledger.patterns import is_found
from ledger.slice_values import (
    attribute_value,
    character_band,
    hour_band,
    hour_of,
    joined,
    language_value,
    pattern_value,
    word_band,
)

OVERALL = "all"  # every pair belongs to it

RuleKind = Literal[
    "header", "pointer", "words", "characters", "language", "hours", "pattern", "teacher_class", "of"
]

_OF_THE_REQUEST_AS_A_WHOLE = ("header", "pointer", "hours")
_OF_THE_TEXT = ("characters", "language", "pattern")


@dataclass(frozen=True, slots=True)
class SliceRule:
    """One declared dimension; each value that traffic shows becomes the slice `name=value`."""

    name: str
    kind: RuleKind
    header: str = ""  # lower case, for kind "header"
    word_edges: tuple[int, ...] = ()  # ascending, for kind "words"
    critical: bool = False  # the gate must prove the bar of each of its slices that has enough rows
    bar: float | None = None  # least acceptable fidelity
    max_values: int = 200  # slices of an open rule that are measured apart; further pairs are `NAME=other`
    alarm_below: float | None = None  # fidelity that a slice without a reference is held to; else the bar
    pointer: str = ""  # RFC 6901, into the request's body, for kind "pointer"
    character_edges: tuple[int, ...] = ()  # ascending, for kind "characters"
    languages: tuple[str, ...] = ()  # ISO 639 codes that are told apart, for kind "language"
    hours: tuple[int, ...] = ()  # of the day at which bands begin, ascending, for kind "hours"
    time_zone: str = "UTC"  # an IANA name
    pattern: str = ""  # RE2 syntax, for kind "pattern"
    parts: tuple["SliceRule", ...] = ()  # two other rules, for kind "of"

    @property
    def attribute(self) -> str:
        """Under which name the value that it reads is recorded beside the exchange; empty for other kinds."""
        return self.header or self.pointer

    @property
    def decides_who_serves(self) -> bool:
        """A rule over the teacher's answer can only measure: it is not known when serving is decided."""
        return self.kind != "teacher_class" and all(part.decides_who_serves for part in self.parts)

    @property
    def reads_text(self) -> bool:
        """It can only measure where texts are stored."""
        return self.kind in _OF_THE_TEXT or any(part.reads_text for part in self.parts)

    @property
    def is_open(self) -> bool:
        """Callers may send any number of values."""
        return bool(self.attribute) or any(part.is_open for part in self.parts)

    @property
    def is_slow(self) -> bool:
        """It costs tens of microseconds a text: not for the event loop on behalf of every exchange."""
        return self.kind == "language" or any(part.is_slow for part in self.parts)

    @property
    def holds_for_all_inputs(self) -> bool:
        """All inputs of a request have the same value, known even where they cannot be read."""
        if self.parts:
            return all(part.holds_for_all_inputs for part in self.parts)
        return self.kind in _OF_THE_REQUEST_AS_A_WHOLE

    @property
    def definition(self) -> str:
        """What decides which pairs belong to its slices, as JSON: another text, other slices."""
        return orjson.dumps(_definition(self)).decode()


@dataclass(frozen=True, slots=True)
class Subject:
    """What slice rules may look at."""

    attributes: Mapping[str, str]
    words: int
    teacher_class: str | None = None
    text: str = ""  # empty where it is not stored: rules that read it give no slice
    at_us: int = 0  # start of the exchange


def subject_of(exchange: Exchange, index: int, teacher_class: str | None) -> Subject:
    """One input of an exchange, as it is stored."""
    return Subject(
        exchange.attributes,
        exchange.input_words[index],
        teacher_class,
        exchange.inputs[index] if index < len(exchange.inputs) else "",
        exchange.started_at_us,
    )


def slices_of(rules: Sequence[SliceRule], subject: Subject) -> tuple[str, ...]:
    """All slices that the subject belongs to, the overall one first."""
    names = [OVERALL]
    for rule in rules:
        value = value_of(rule, subject)
        if value is not None:
            names.append(f"{rule.name}={value}")
    return tuple(names)


def serving_slices_of(rules: Sequence[SliceRule], subject: Subject) -> tuple[str, ...]:
    """The slices that decide who serves: those of rules that read the request alone."""
    return slices_of([rule for rule in rules if rule.decides_who_serves], subject)


def rule_of(rules: Sequence[SliceRule], slice_name: str) -> SliceRule | None:
    """The rule that a slice came from; None for the overall slice or one no longer declared."""
    prefix, _, value = slice_name.partition("=")
    return next((rule for rule in rules if rule.name == prefix), None) if value else None


def decides_who_serves(rules: Sequence[SliceRule], slice_name: str) -> bool:
    """The overall slice, and those of rules that read the request alone."""
    rule = rule_of(rules, slice_name)
    return slice_name == OVERALL or (rule is not None and rule.decides_who_serves)


def value_of(rule: SliceRule, subject: Subject) -> str | None:
    """What the rule says of a subject; None where it says nothing."""
    match rule.kind:
        case "header" | "pointer":
            return attribute_value(subject.attributes.get(rule.attribute, ""))
        case "words":
            return word_band(rule.word_edges, subject.words)
        case "hours":
            return hour_band(rule.hours, hour_of(subject.at_us, rule.time_zone))
        case "teacher_class":
            return subject.teacher_class
        case "of":
            first, second = (value_of(part, subject) for part in rule.parts)
            return None if first is None or second is None else joined(first, second)
    return text_value(rule, subject.text) if subject.text else None


def text_value(rule: SliceRule, text: str) -> str:
    """What a rule that reads the text says of one that is there."""
    if rule.kind == "characters":
        return character_band(rule.character_edges, text)
    if rule.kind == "language":
        return language_value(rule.languages, language_of(text))
    return pattern_value(is_found(rule.pattern, text))


def _definition(rule: SliceRule) -> object:
    match rule.kind:
        case "header":
            return {"header": rule.header}
        case "pointer":
            return {"pointer": rule.pointer}
        case "words":
            return {"words": rule.word_edges}
        case "characters":
            return {"characters": rule.character_edges}
        case "language":
            return {"language": sorted(rule.languages)}
        case "hours":
            return {"hours": rule.hours, "time_zone": rule.time_zone}
        case "pattern":
            return {"pattern": rule.pattern}
        case "teacher_class":
            return {"teacher_class": True}
    return {"of": [_definition(part) for part in rule.parts]}
