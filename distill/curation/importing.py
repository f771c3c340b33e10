"""Examples that a person brings beside the traffic: JSON Lines, each with where it comes from.

{"text": "...", "label": "class", "provenance": "who made it, from what"}, or probabilities instead of the label:
{"text": "...", "probabilities": {"class": 0.9, ...}, "provenance": "..."}; "attributes" are request headers by name,
for slices. They train and are never judged on: they say nothing of how traffic is.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import orjson

from distill.curation.rows import Row, Source
from distill.curation.texts import exact_key
from ledger.configuration import TaskSection
from ledger.input_digests import digest_of
from ledger.observation import Observation, hard_label, observe
from ledger.redaction import redactor
from ledger.slices import Subject, slices_of

MOST_CHARACTERS = 65_536  # of a text, as of one that is recorded
_KEYS = frozenset({"text", "label", "probabilities", "provenance", "attributes"})


class Line(StrEnum):
    """What became of a line."""

    ACCEPTED = "accepted"
    BLANK = "blank"
    NOT_JSON = "not_json"  # or no JSON object
    UNKNOWN_KEY = "unknown_key"
    NO_TEXT = "no_text"
    TOO_LONG = "too_long"
    NO_PROVENANCE = "no_provenance"
    NO_ANSWER = "no_answer"  # neither a label nor probabilities, or both
    UNKNOWN_CLASS = "unknown_class"
    NO_DISTRIBUTION = "no_distribution"  # its probabilities are none
    BAD_ATTRIBUTES = "bad_attributes"  # not texts by name
    REPEATED = "repeated"  # the same text with the same class came before
    CONTRADICTS = "contradicts"  # the same text with another class came before


@dataclass(frozen=True, slots=True)
class Imported:
    """`rows` of the accepted lines; `lines` says what became of each, in order."""

    rows: tuple[Row, ...]
    lines: tuple[Line, ...]
    provenance: Mapping[str, int]  # rows by where they come from

    @property
    def counts(self) -> dict[str, int]:
        return dict(Counter(map(str, self.lines)))


def read_examples(path: Path, task: TaskSection, imported_at_us: int) -> Imported:
    """Line by line: one that is wrong is named and the others are taken. Raises OSError."""
    rows: dict[str, Row] = {}
    lines: list[Line] = []
    provenance: Counter[str] = Counter()
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            found = _example(line, task)
            if isinstance(found, Line):
                lines.append(found)
                continue
            row = _row(found, task, f"{path.name}:{number}", imported_at_us)
            known = rows.setdefault(exact_key(row.text), row)
            lines.append(_what_became(row, known))
            if known is row:
                provenance[found["provenance"]] += 1
    return Imported(tuple(rows.values()), tuple(lines), dict(provenance))


def _what_became(row: Row, known: Row) -> Line:
    if known is row:
        return Line.ACCEPTED
    return Line.REPEATED if known.teacher.top == row.teacher.top else Line.CONTRADICTS


def _example(line: bytes, task: TaskSection) -> dict[str, Any] | Line:
    if not line.strip():
        return Line.BLANK
    try:
        document = orjson.loads(line)
    except orjson.JSONDecodeError:
        return Line.NOT_JSON
    if not isinstance(document, dict):
        return Line.NOT_JSON
    return next(_problems(document, task), None) or document


def _problems(document: Mapping[str, Any], task: TaskSection) -> Iterator[Line]:
    text, provenance = document.get("text"), document.get("provenance")
    if not document.keys() <= _KEYS:
        yield Line.UNKNOWN_KEY
    if not isinstance(text, str) or not text.strip():
        yield Line.NO_TEXT
    elif len(text) > MOST_CHARACTERS:
        yield Line.TOO_LONG
    if not isinstance(provenance, str) or not provenance.strip():
        yield Line.NO_PROVENANCE
    if ("label" in document) == ("probabilities" in document):
        yield Line.NO_ANSWER
    elif "label" in document and document["label"] not in task.classes:
        yield Line.UNKNOWN_CLASS
    elif "probabilities" in document:
        yield from _distribution_problems(document["probabilities"], task)
    attributes = document.get("attributes", {})
    if not isinstance(attributes, dict) or not all(isinstance(value, str) for value in attributes.values()):
        yield Line.BAD_ATTRIBUTES


def _distribution_problems(told: object, task: TaskSection) -> Iterator[Line]:
    if not isinstance(told, dict) or not set(told) <= set(task.classes):
        yield Line.UNKNOWN_CLASS
        return
    are_numbers = all(type(value) in (int, float) for value in told.values())
    if not are_numbers or _observation({"probabilities": told}, task).probabilities is None:
        yield Line.NO_DISTRIBUTION


def _observation(example: Mapping[str, Any], task: TaskSection) -> Observation:
    """A class that is not named has probability 0, as long as the others add up to 1."""
    if "label" in example:
        return hard_label(task.classes.index(example["label"]), len(task.classes))
    told = example["probabilities"]
    return observe([float(told.get(name, 0.0)) for name in task.classes], len(task.classes))


def _row(example: Mapping[str, Any], task: TaskSection, name: str, at_us: int) -> Row:
    """Redacted as traffic is, so that the student reads here what it will read there."""
    text = redactor(task.capture.redacted)(example["text"])
    teacher = _observation(example, task)
    attributes = {key.lower(): value for key, value in example.get("attributes", {}).items()}
    subject = Subject(attributes, len(text.split()), task.classes[teacher.top], text, at_us)
    return Row(
        digest=digest_of(text),
        exchange_id=f"import/{name}",
        input_index=0,
        at_us=at_us,
        text=text,
        teacher=teacher,
        slices=slices_of(task.rules, subject),
        inclusion=1.0,
        repeats=1,
        words=subject.words,
        truth=teacher.top if "label" in example else None,
        source=Source.IMPORTED,
    )
