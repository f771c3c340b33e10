"""Every kind of rule over a page of pairs: the slices of ledger.slices, column by column."""

from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.configuration import TaskSection
from ledger.slices import Subject, slices_of
from monitor.slicing import NO_SLICE, Subjects, overall_column, slice_columns
from tests.monitor.world import build_configuration

EVERY_KIND = (
    {"name": "area", "header": "x-area"},
    {"name": "area_by_language", "of": ("area", "language")},
    {"name": "tier", "pointer": "/tier"},
    {"name": "length", "words": (2, 5)},
    {"name": "size", "characters": (10, 40)},
    {"name": "language", "language": ("de", "en")},
    {"name": "shift", "hours": (0, 6, 18), "time_zone": "Asia/Kolkata"},
    {"name": "refund", "pattern": "(?i)refund"},
    {"name": "desk", "teacher_class": True},
    {"name": "desk_by_shift", "of": ("desk", "shift")},
)
TASK: TaskSection = build_configuration(Path("/nowhere"), slice=EVERY_KIND).task[0]

ATTRIBUTES = ({}, {"x-area": "a"}, {"x-area": " "}, {"x-area": "a & b", "/tier": "gold"}, {"/tier": "&" * 99})
TEXTS = (
    "",
    "REFUND",
    "Guten Tag, wo bleibt meine Rechnung?",
    "I would like a refund for this order",
    "äöü",
    "12",
)
Entry = tuple[int, int, str, int, int]  # place among ATTRIBUTES, words, text, start, teacher's class


def entries() -> st.SearchStrategy[list[Entry]]:
    attributes, texts = st.integers(0, len(ATTRIBUTES) - 1), st.sampled_from(TEXTS)
    start = st.integers(0, 4 * 10**15)  # up to the year 2096
    return st.lists(st.tuples(attributes, st.integers(0, 9), texts, start, st.integers(0, 1)), max_size=12)


@settings(max_examples=60)
@given(entries())
def test_columns_say_what_the_rules_say(drawn: list[Entry]) -> None:
    """For every kind, with and without texts, and for combinations declared before their parts."""
    rows, words, texts, at_us, top = (
        (list(column) for column in zip(*drawn, strict=True)) if drawn else ([],) * 5
    )
    subjects = Subjects(
        attributes=ATTRIBUTES,
        attribute=np.array(rows, dtype=np.int64),
        words=words,
        texts=texts,
        at_us=np.array(at_us, dtype=np.int64),
        teacher_top=np.array(top, dtype=np.int64),
        classes=TASK.classes,
    )
    columns = [overall_column(len(drawn)), *slice_columns(TASK.rules, subjects)]

    found = [
        tuple(column.names[column.codes[place]] for column in columns if column.codes[place] != NO_SLICE)
        for place in range(len(drawn))
    ]
    assert found == [
        slices_of(TASK.rules, Subject(ATTRIBUTES[row], count, TASK.classes[named], text, start))
        for row, count, text, start, named in drawn
    ]
