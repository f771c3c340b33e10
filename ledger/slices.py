"""Slice rules: pure functions from a request (to measure, also the teacher's answer) to slice names."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

OVERALL = "all"  # every pair belongs to it
MAX_VALUE_LENGTH = 80  # of a header value in a slice name; longer ones are cut, never dropped

RuleKind = Literal["header", "words", "teacher_class"]


@dataclass(frozen=True, slots=True)
class SliceRule:
    """One declared dimension; each value that traffic shows becomes the slice `name=value`."""

    name: str
    kind: RuleKind
    header: str = ""  # lower case, for kind "header"
    word_edges: tuple[int, ...] = ()  # ascending, for kind "words"
    critical: bool = False  # the gate must prove the bar of each of its slices that has enough rows
    bar: float | None = None  # least acceptable fidelity
    max_values: int = (
        200  # slices of a header that are measured apart; the pairs of further ones are `NAME=other`
    )
    alarm_below: float | None = None  # fidelity that a slice without a reference is held to; else the bar

    @property
    def decides_who_serves(self) -> bool:
        """A rule over the teacher's answer can only measure: it is not known when serving is decided."""
        return self.kind != "teacher_class"


@dataclass(frozen=True, slots=True)
class Subject:
    """What slice rules may look at."""

    attributes: Mapping[str, str]
    words: int
    teacher_class: str | None = None


def slices_of(rules: Sequence[SliceRule], subject: Subject) -> tuple[str, ...]:
    """All slices that the subject belongs to, the overall one first."""
    names = [OVERALL]
    for rule in rules:
        value = _value(rule, subject)
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


def header_value(attributes: Mapping[str, str], header: str) -> str | None:
    """The value that a header gives to its slice; None where it is missing or empty."""
    return attributes.get(header, "").strip()[:MAX_VALUE_LENGTH] or None


def word_band(edges: Sequence[int], words: int) -> str:
    """`0-49`, `50-149`, `150+` for the edges (50, 150): lower edge included."""
    index = bisect_right(edges, words)
    low = edges[index - 1] if index else 0
    return f"{low}+" if index == len(edges) else f"{low}-{edges[index] - 1}"


def _value(rule: SliceRule, subject: Subject) -> str | None:
    if rule.kind == "header":
        return header_value(subject.attributes, rule.header)
    if rule.kind == "words":
        return word_band(rule.word_edges, subject.words)
    return subject.teacher_class
