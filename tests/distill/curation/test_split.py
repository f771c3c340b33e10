"""The division of rows: stable, disjoint, and with the rows that a gate needs."""

import math
from dataclasses import replace

import numpy as np
import pytest

from distill.curation.embedded import embedded
from distill.curation.leakage import without_leaks
from distill.curation.rows import Row
from distill.curation.split import (
    LEAST_GATE_SHARE,
    MOST_GATE_SHARE,
    GateRow,
    LeftOut,
    Split,
    draw_gate,
    split_rows,
)
from ledger.configuration import TaskSection
from monitor.training_window import rows_wanted
from tests.distill.curation.words import build_text_row, write_text
from tests.distill.desk import build_row


def rows_of(task: TaskSection, **counts: int) -> list[Row]:
    """So many rows of each area."""
    return [build_row(task, number, area) for area, count in counts.items() for number in range(count)]


def locked(gate: tuple[GateRow, ...]) -> dict[str, str | None]:
    return {entry.row.digest: entry.drawn_for for entry in gate}


def test_the_parts_share_no_row(task: TaskSection) -> None:
    """What is judged on is not trained on, nor stopped, nor calibrated on."""
    rows = rows_of(task, x=800, y=120)
    gate = draw_gate(rows, task.rules, task.gate, {})

    split = split_rows(rows, locked(gate), {})

    parts = [[entry.row.digest for entry in split.gate]]
    parts += [[row.digest for row in part] for part in (split.train, split.dev, split.calibration)]
    everything = [digest for part in parts for digest in part]
    assert len(everything) == len(set(everything)) == len(rows)
    assert all(parts)


def test_a_critical_slice_gets_its_gate_rows(task: TaskSection) -> None:
    """A rare slice is drawn beyond its natural share, but counts for its own rule's slices alone."""
    rows = rows_of(task, x=1500, rare=rows_wanted(task.gate.slice_rows))

    gate = draw_gate(rows, task.rules, task.gate, {})

    rare = [entry for entry in gate if "area=rare" in entry.slices(task.rules)]
    extra = [entry for entry in rare if entry.drawn_for is not None]
    assert len(rare) == task.gate.slice_rows
    assert extra
    assert {entry.slices(task.rules) for entry in extra} == {("area=rare",)}


def test_a_slice_too_small_to_be_proved_gives_nothing_extra(task: TaskSection) -> None:
    """Its few rows are worth more in training than in a gate that they cannot fill."""
    rows = rows_of(task, x=1500, rare=rows_wanted(task.gate.slice_rows) - 1)

    gate = draw_gate(rows, task.rules, task.gate, {})

    assert {entry.drawn_for for entry in gate if entry.row.slices[1] == "area=rare"} <= {None}


def test_a_gate_row_is_a_gate_row_for_ever(task: TaskSection) -> None:
    """Rows of an earlier lock never train, also when the next gate needs fewer of them."""
    early = rows_of(task, x=300)
    first = locked(draw_gate(early, task.rules, task.gate, {}))
    later = early + rows_of(task, y=3000)

    second = locked(draw_gate(later, task.rules, task.gate, first))
    split = split_rows(later, second, first)

    assert set(first) <= set(second)
    assert not set(first) & {row.digest for row in (*split.train, *split.dev, *split.calibration)}


def test_more_rows_leave_a_locked_gate_as_it_was(task: TaskSection) -> None:
    """What arrives after the lock trains, and is not judged on."""
    rows = rows_of(task, x=500)
    lock = locked(draw_gate(rows, task.rules, task.gate, {}))

    split = split_rows(rows + rows_of(task, y=200), lock, {})

    assert locked(split.gate) == lock


@pytest.mark.parametrize("count", [0, 1, 10, 1000, 10_000])
def test_the_natural_draw_is_near_its_share(task: TaskSection, count: int) -> None:
    """Between a seventh and a third of the rows, more when there are few."""
    rows = rows_of(task, x=count)
    share = min(MOST_GATE_SHARE, max(LEAST_GATE_SHARE, task.gate.rows / max(1, count)))

    natural = [entry for entry in draw_gate(rows, task.rules, task.gate, {}) if entry.drawn_for is None]

    assert abs(len(natural) - share * count) <= 4 * math.sqrt(count * share)


def test_a_group_stays_in_one_part(task: TaskSection) -> None:
    """Texts that nearly are the same do not judge what they taught."""
    rows = [replace(row, group=f"g{place // 3}") for place, row in enumerate(rows_of(task, x=900))]

    split = split_rows(rows, locked(draw_gate(rows, task.rules, task.gate, {})), {})

    parts = [[entry.row for entry in split.gate], split.train, split.dev, split.calibration]
    groups = [{row.group_id for row in part} for part in parts]
    assert sum(map(len, groups)) == len(set().union(*groups)) == 300
    assert sum(map(len, parts)) == 900


def test_a_row_near_an_earlier_gates_row_does_not_train(task: TaskSection) -> None:
    """Also where it arrives after this job's lock was written."""
    rows = rows_of(task, x=300)
    lock = locked(draw_gate(rows, task.rules, task.gate, {}))
    judged = next(row for row in rows if row.digest in lock)
    late = replace(build_row(task, 5000, "x"), group=judged.digest)

    split = split_rows([*rows, late], lock, {})

    assert late not in (*split.train, *split.dev, *split.calibration)
    assert split.left_out == {LeftOut.GATE_BEFORE: 1}


def test_near_rows_are_dropped_from_training_and_never_from_the_gate(task: TaskSection) -> None:
    """By their words, and by an encoder's vectors where these are given."""
    gate = build_text_row(task, 0, text=write_text(0, 0, 60))
    near = build_text_row(task, 1, text=f"{gate.text} once more please")
    means = build_text_row(task, 2)
    other = build_text_row(task, 3)
    split = Split((GateRow(gate, None),), (near, means, other), (), ())

    by_words = without_leaks(split, task.curation)
    assert (by_words.train, by_words.gate, by_words.left_out) == (
        (means, other),
        split.gate,
        {LeftOut.NEAR_GATE: 1},
    )
    held = without_leaks(split, task.curation, held=[replace(means, digest="an earlier gate's")])
    assert held.train == (other,)
    space = embedded([gate, near, means, other], np.array([[1, 0], [0, 1], [1, 0.1], [0, 1]]))
    assert without_leaks(split, task.curation, space).train == (other,)


def test_a_row_that_stands_for_an_earlier_gates_text_is_a_gate_row(task: TaskSection) -> None:
    """Whichever of its near-duplicates came first this time."""
    row = replace(build_row(task, 7, "x"), also=("locked long ago",))

    gate = draw_gate([row], task.rules, task.gate, {"locked long ago": "area"})

    assert gate == (GateRow(row, "area"),)
    assert split_rows([row], {}, {"locked long ago": None}).left_out == {LeftOut.GATE_BEFORE: 1}
