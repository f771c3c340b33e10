"""True labels against pairs: either may come first, and a later label takes the place of an earlier one.

A pair takes the label that was read before it; a label reaches the pairs that were read before it. So each
meets exactly once, in whatever order and tick they arrive, and nothing has to be kept waiting.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import orjson
from sqlmodel import Session

from ledger.tables import LabelRow
from monitor.columns import PairColumns
from monitor.folding import NO_LABEL, Changes, label_sums
from monitor.reading import Tasks

Input = tuple[str, int]  # exchange id, index of the input
History = Mapping[Input, Sequence[tuple[int, str]]]  # (number, label) by rising number

_HISTORY = (
    "SELECT exchange_id, input_index, number, label FROM label"
    " WHERE exchange_id IN (SELECT value FROM json_each(?)) AND number <= ? ORDER BY number"
)


def label_history(session: Session, many: Iterable[PairColumns], upto: int) -> History:
    """Every label of these pairs' exchanges that arrived up to the number `upto`."""
    history: dict[Input, list[tuple[int, str]]] = {}
    connection = session.connection()
    for columns in many if upto else ():
        ids = orjson.dumps(list(dict.fromkeys(columns.exchange_ids))).decode()
        for exchange_id, index, number, label in connection.exec_driver_sql(_HISTORY, (ids, upto)):
            history.setdefault((exchange_id, index), []).append((number, label))
    return history


def labels_of_new_pairs(
    columns: PairColumns, history: History, label_position: int, tasks: Tasks, window_seconds: int
) -> Iterator[Changes]:
    """What labels read in earlier ticks add to the pairs of this one."""
    labels = np.full(len(columns), NO_LABEL, dtype=np.int64)
    for place, of_input in enumerate(_inputs(columns) if history else ()):
        earlier = history.get(of_input, ())
        count = bisect_right(earlier, label_position, key=_number)
        if count:
            labels[place] = _code(earlier[count - 1][1], tasks[columns.task].classes)
    yield from label_sums(columns, labels, window_seconds)


def labels_of_known_pairs(
    labels: Iterable[LabelRow], columns: PairColumns, history: History, tasks: Tasks, window_seconds: int
) -> Iterator[Changes]:
    """What newly read labels change for pairs that are folded by the end of this tick.

    Of several new labels for one input the last one counts, and what counted before them is taken back.
    """
    first, last = _new_labels(labels)
    classes = tasks[columns.task].classes
    before = np.full(len(columns), NO_LABEL, dtype=np.int64)
    after = before.copy()
    for place, of_input in enumerate(_inputs(columns)):
        if of_input in last:
            earlier = history.get(of_input, ())
            count = bisect_left(earlier, first[of_input], key=_number)
            before[place] = _code(earlier[count - 1][1], classes) if count else NO_LABEL
            after[place] = _code(last[of_input], classes)
    for changes in label_sums(columns, before, window_seconds):
        yield {key: -row for key, row in changes.items()}
    yield from label_sums(columns, after, window_seconds)


def _new_labels(labels: Iterable[LabelRow]) -> tuple[dict[Input, int], dict[Input, str]]:
    """By input, the number of the first new label, and the last new label; labels come by rising number."""
    first: dict[Input, int] = {}
    last: dict[Input, str] = {}
    for label in labels:
        of_input = label.exchange_id, label.input_index
        first.setdefault(of_input, label.number or 0)
        last[of_input] = label.label
    return first, last


def _inputs(columns: PairColumns) -> Iterator[Input]:
    return zip(columns.exchange_ids, columns.input_index.tolist(), strict=True)


def _code(label: str, classes: Sequence[str]) -> int:
    """NO_LABEL for what is no class of the task."""
    return classes.index(label) if label in classes else NO_LABEL


def _number(entry: tuple[int, str]) -> int:
    return entry[0]
