"""Adds changes to the kept sums: by task, student, slice and window, and to the row over all windows."""

from collections.abc import Iterable, Iterator, Mapping

from sqlalchemy.dialects.sqlite import insert
from sqlmodel import Session, col, select

from ledger.tables import SumsRow
from monitor.reports import WHOLE_LIFE
from monitor.sums import SliceSums, merged
from monitor.truths import Change

QUERY_SIZE = 500  # windows in one query

Key = tuple[str, str, str, int]  # task, artifact, slice, window start


def by_window(changes: Iterable[Change], window_seconds: int) -> dict[Key, SliceSums]:
    """The total change of each row; a pair counts in the window in which its exchange started."""
    parts: dict[Key, list[SliceSums]] = {}
    width = window_seconds * 1_000_000
    for task_pair, sums in changes:
        pair = task_pair.pair
        start = pair.at_us // width * width
        for slice_name in pair.slices:
            parts.setdefault((task_pair.task, pair.artifact, slice_name, start), []).append(sums)
    windows = {key: merged(group) for key, group in parts.items()}
    return windows | _over_windows(windows)


def _over_windows(windows: Mapping[Key, SliceSums]) -> dict[Key, SliceSums]:
    """What the rows over all windows gain: merged from the windows, not once more from the pairs."""
    parts: dict[Key, list[SliceSums]] = {}
    for (task, artifact, slice_name, _), sums in windows.items():
        parts.setdefault((task, artifact, slice_name, WHOLE_LIFE), []).append(sums)
    return {key: merged(group) for key, group in parts.items()}


def add_to_rows(session: Session, changes: Mapping[Key, SliceSums]) -> None:
    """Merge the changes into the stored rows, inside the caller's transaction."""
    stored = dict(_stored(session, changes))
    rows = []
    for key, change in changes.items():
        total = stored[key].merge(change) if key in stored else change
        task, artifact, slice_name, start = key
        rows.append(
            {
                "task": task,
                "artifact": artifact,
                "slice": slice_name,
                "window_start_us": start,
                "sums": total.to_json(),
            }
        )
    if rows:
        statement = insert(SumsRow)
        replace = statement.on_conflict_do_update(
            index_elements=["task", "artifact", "slice", "window_start_us"],
            set_={"sums": statement.excluded.sums},
        )
        session.connection().execute(replace, rows)


def _stored(session: Session, keys: Iterable[Key]) -> Iterator[tuple[Key, SliceSums]]:
    """The rows of these students and windows, of whatever slice."""
    windows: dict[tuple[str, str], set[int]] = {}
    for task, artifact, _, start in keys:
        windows.setdefault((task, artifact), set()).add(start)
    for (task, artifact), starts in windows.items():
        ordered = sorted(starts)
        for first in range(0, len(ordered), QUERY_SIZE):
            query = select(SumsRow.slice, SumsRow.window_start_us, SumsRow.sums).where(
                SumsRow.task == task,
                SumsRow.artifact == artifact,
                col(SumsRow.window_start_us).in_(ordered[first : first + QUERY_SIZE]),
            )
            for slice_name, start, sums in session.exec(query):
                yield (task, artifact, slice_name, start), SliceSums.from_json(sums)
