"""Adds changes to the kept sums: by task, student, slice and window, and to the row over all windows.

Rows are added up as arrays of 64 bits. Whole numbers have no end: what would leave 64 bits, as the losses of some
thousand million pairs do, is added up one by one instead.
"""

import json
from collections.abc import Iterator, Mapping

import orjson
from sqlmodel import Session

from monitor.folding import Changes, Key, merged_changes
from monitor.histograms import Ints
from monitor.layout import layout_for, sums_of_row
from monitor.reports import WHOLE_LIFE
from monitor.sums import SliceSums

_STORED = (
    "SELECT slice, window_start_us, sums FROM slice_sums WHERE task = ? AND artifact = ?"
    " AND slice IN (SELECT value FROM json_each(?)) AND window_start_us IN (SELECT value FROM json_each(?))"
)
_KEEP = (
    "INSERT INTO slice_sums (task, artifact, slice, window_start_us, sums) VALUES (?, ?, ?, ?, ?)"
    " ON CONFLICT (task, artifact, slice, window_start_us) DO UPDATE SET sums = excluded.sums"
)


def with_whole_life(windows: Changes) -> dict[Key, Ints]:
    """The changes and what the rows over all windows gain: merged from the windows, not from the pairs again."""
    whole = merged_changes({(*key[:3], WHOLE_LIFE): row} for key, row in windows.items())
    return {**windows, **whole}


def add_to_rows(session: Session, changes: Changes) -> None:
    """Merge the changes into the stored rows, inside the caller's transaction."""
    stored = dict(_stored(session, changes))
    rows = [(*key, _total(stored.get(key), change)) for key, change in changes.items()]
    if rows:
        session.connection().exec_driver_sql(_KEEP, rows)


def _total(stored: str | None, change: Ints) -> str:
    layout = layout_for(change)
    if stored is None:
        return orjson.dumps(layout.document(change)).decode()
    try:
        return orjson.dumps(layout.document(_added(layout.row(orjson.loads(stored)), change))).decode()
    except (ValueError, OverflowError):  # classes that the task no longer has, or more than 64 bits
        # json, since orjson reads whole numbers beyond 64 bits as floats
        return json.dumps(SliceSums.from_json(json.loads(stored)).merge(sums_of_row(change)).to_json())


def _added(row: Ints, change: Ints) -> Ints:
    """Raises OverflowError where numpy would begin again at the other end."""
    total = row + change
    if (((row ^ total) & (change ^ total)) < 0).any():
        raise OverflowError("a sum leaves 64 bits")
    return total


def _stored(session: Session, changes: Changes) -> Iterator[tuple[Key, str]]:
    """The rows that change, as JSON text."""
    connection = session.connection()
    for (task, artifact), (slices, starts) in _wanted(changes).items():
        wanted = orjson.dumps(sorted(slices)).decode(), orjson.dumps(sorted(starts)).decode()
        for slice_name, start, sums in connection.exec_driver_sql(_STORED, (task, artifact, *wanted)):
            yield (task, artifact, slice_name, start), sums


def _wanted(changes: Changes) -> Mapping[tuple[str, str], tuple[set[str], set[int]]]:
    """Slices and windows by task and student."""
    wanted: dict[tuple[str, str], tuple[set[str], set[int]]] = {}
    for task, artifact, slice_name, start in changes:
        slices, starts = wanted.setdefault((task, artifact), (set(), set()))
        slices.add(slice_name)
        starts.add(start)
    return wanted
