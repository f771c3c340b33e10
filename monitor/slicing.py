"""Which slices a page of pairs belongs to: ledger.slices.slices_of, column by column."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count

import numpy as np

from ledger.slice_values import attribute_value, hour_band, hour_of, joined, word_band
from ledger.slices import OVERALL, SliceRule, text_value
from monitor.histograms import Ints

NO_SLICE = -1  # code of a pair that a rule puts into no slice

Values = tuple[tuple[str, ...], Ints]  # what a rule says, and for each pair its index there, or NO_SLICE


@dataclass(frozen=True, slots=True)
class SliceColumn:
    """Which slice of one rule each pair belongs to."""

    rule: str
    names: tuple[str, ...]
    codes: Ints  # index into names, or NO_SLICE


@dataclass(frozen=True, slots=True)
class Subjects:
    """What rules look at, one entry for each pair."""

    attributes: Sequence[Mapping[str, str]]  # those that there are, each once
    attribute: Ints  # index into attributes
    words: Sequence[int]
    texts: Sequence[str]  # empty where none is stored
    at_us: Ints  # start of the exchange
    teacher_top: Ints
    classes: Sequence[str]


def overall_column(pairs: int) -> SliceColumn:
    """Every pair belongs to it."""
    return SliceColumn(OVERALL, (OVERALL,), np.zeros(pairs, dtype=np.int64))


def slice_columns(rules: Sequence[SliceRule], subjects: Subjects) -> Iterator[SliceColumn]:
    """One for each rule. A combination takes what its parts said, so that nothing is asked twice."""
    said: dict[str, Values] = {}
    for rule in rules:
        values, codes = said[rule.definition] = _values(rule, subjects, said)
        yield SliceColumn(rule.name, tuple(f"{rule.name}={value}" for value in values), codes)


def coded(values: Sequence[str]) -> tuple[tuple[str, ...], Ints]:
    """The distinct values in order of appearance, and for each value its index among them."""
    codes = new_codes()
    found = np.fromiter(map(codes.__getitem__, values), np.int64, len(values))
    return tuple(codes), found


def new_codes() -> dict[str, int]:
    """Looking up a text that it does not know gives it the next number."""
    return defaultdict(count().__next__)


def _values(rule: SliceRule, subjects: Subjects, said: dict[str, Values]) -> Values:
    match rule.kind:
        case "header" | "pointer":
            return _by_attribute(rule, subjects)
        case "words":
            return _by_band(rule.word_edges, np.array(subjects.words, dtype=np.int64))
        case "hours":
            return _by_hour(rule, subjects.at_us)
        case "teacher_class":
            return tuple(subjects.classes), subjects.teacher_top
        case "of":
            return _combined(
                *(said.get(part.definition) or _values(part, subjects, said) for part in rule.parts)
            )
    return _by_text(rule, subjects.texts)


def _by_attribute(rule: SliceRule, subjects: Subjects) -> Values:
    name = rule.attribute
    sent, code = coded([attributes.get(name, "") for attributes in subjects.attributes])
    names, codes = _coded_if_any(list(map(attribute_value, sent)))
    return names, codes[code[subjects.attribute]]


def _by_band(edges: Sequence[int], lengths: Ints) -> Values:
    lowest = (0, *edges)  # a length out of each band
    codes = np.searchsorted(np.array(edges, dtype=np.int64), lengths, side="right")
    return tuple(word_band(edges, low) for low in lowest), codes


def _by_hour(rule: SliceRule, at_us: Ints) -> Values:
    """Exchanges of a page lie near one another: the clock is asked once a minute."""
    minutes, minute = np.unique(at_us // 60_000_000, return_inverse=True)
    bands = [hour_band(rule.hours, hour_of(at * 60_000_000, rule.time_zone)) for at in minutes.tolist()]
    names, codes = coded(bands)
    return names, codes[minute] if len(minutes) else minute


def _by_text(rule: SliceRule, texts: Sequence[str]) -> Values:
    return _coded_if_any([text_value(rule, text) if text else None for text in texts])


def _combined(first: Values, second: Values) -> Values:
    """Pairs that both rules put into a slice, by what they said together."""
    (names, codes), (others, other_codes) = first, second
    both = np.flatnonzero((codes != NO_SLICE) & (other_codes != NO_SLICE))
    width = max(1, len(others))
    present, found = np.unique(codes[both] * width + other_codes[both], return_inverse=True)
    combined = np.full(len(codes), NO_SLICE, dtype=np.int64)
    combined[both] = found
    return tuple(joined(names[code // width], others[code % width]) for code in present.tolist()), combined


def _coded_if_any(values: Sequence[str | None]) -> Values:
    """Codes of the values that there are; NO_SLICE for the others."""
    names, code = coded([value for value in values if value is not None])
    codes = np.full(len(values), NO_SLICE, dtype=np.int64)
    codes[[place for place, value in enumerate(values) if value is not None]] = code
    return names, codes
