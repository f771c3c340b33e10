"""True labels against pairs: either may come first, and a later label takes the place of an earlier one.

A pair takes the label that was read before it; a label reaches the pairs that were read before it. So each
meets exactly once, in whatever order and tick they arrive, and nothing has to be kept waiting.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import orjson
from sqlmodel import Session

from ledger.tables import LabelRow
from monitor.columns import PairColumns
from monitor.folding import NO_LABEL, Changes, label_sums
from monitor.histograms import Bools, Ints
from monitor.reading import Tasks
from monitor.weights import weights_of

Input = tuple[str, int]  # exchange id, index of the input
Said = tuple[int, str, float]  # number, label, probability with which its exchange was chosen
History = Mapping[Input, Sequence[Said]]  # by rising number

_HISTORY = (
    "SELECT exchange_id, input_index, number, label, probability FROM label"
    " WHERE exchange_id IN (SELECT value FROM json_each(?)) AND number <= ? ORDER BY number"
)


@dataclass(frozen=True, slots=True)
class Truth:
    """One entry for each pair."""

    labels: Ints  # code of the class, or NO_LABEL
    weights: Ints  # monitor.weights

    @property
    def known(self) -> Bools:
        return np.not_equal(self.labels, NO_LABEL)


@dataclass(frozen=True, slots=True)
class Correction:
    """What newly read labels change for pairs: of several for one input, the last one counts."""

    before: Truth
    after: Truth


@dataclass(frozen=True, slots=True)
class Told:
    """What the labels of one tick say of its pairs, and of those of earlier ticks."""

    new: Sequence[tuple[PairColumns, Truth]]
    known: Sequence[tuple[PairColumns, Correction]]


def of_task(told: Told, task: str) -> Told:
    return Told(
        [entry for entry in told.new if entry[0].task == task],
        [entry for entry in told.known if entry[0].task == task],
    )


def label_history(session: Session, many: Iterable[PairColumns], upto: int) -> History:
    """Every label of these pairs' exchanges that arrived up to the number `upto`."""
    history: dict[Input, list[Said]] = {}
    connection = session.connection()
    for columns in many if upto else ():
        ids = orjson.dumps(list(dict.fromkeys(columns.exchange_ids))).decode()
        for exchange_id, index, *said in connection.exec_driver_sql(_HISTORY, (ids, upto)):
            history.setdefault((exchange_id, index), []).append(tuple(said))
    return history


def told(
    new: Iterable[PairColumns],
    known: Iterable[PairColumns],
    labels: Sequence[LabelRow],
    history: History,
    label_position: int,
    tasks: Tasks,
) -> Told:
    """`labels` are those read in this tick, after `label_position`."""
    return Told(
        [(columns, _truth_of_new(columns, history, label_position, tasks)) for columns in new],
        [(columns, _correction(labels, columns, history, tasks)) for columns in known],
    )


def told_sums(told: Told, window_seconds: int) -> Iterator[Changes]:
    """What labels add to the sums of their pairs; what counted before a correction is taken back."""
    for columns, truth in told.new:
        yield _sums(columns, truth, window_seconds)
    for columns, correction in told.known:
        taken_back = _sums(columns, correction.before, window_seconds)
        yield {key: -row for key, row in taken_back.items()}
        yield _sums(columns, correction.after, window_seconds)


def _sums(columns: PairColumns, truth: Truth, window_seconds: int) -> Changes:
    return label_sums(columns, truth.labels, truth.weights, window_seconds)


def _truth_of_new(columns: PairColumns, history: History, label_position: int, tasks: Tasks) -> Truth:
    """What labels read in earlier ticks say of the pairs of this one."""
    said: list[Said | None] = [None] * len(columns)
    for place, of_input in enumerate(_inputs(columns) if history else ()):
        earlier = history.get(of_input, ())
        count = bisect_right(earlier, label_position, key=_number)
        said[place] = earlier[count - 1] if count else None
    return _truth(columns, said, tasks)


def _correction(
    labels: Iterable[LabelRow], columns: PairColumns, history: History, tasks: Tasks
) -> Correction:
    """What newly read labels say of pairs that are folded by the end of this tick, and what was said before."""
    first, last = _new_labels(labels)
    before: list[Said | None] = [None] * len(columns)
    after = before.copy()
    for place, of_input in enumerate(_inputs(columns)):
        if of_input in last:
            earlier = history.get(of_input, ())
            count = bisect_left(earlier, first[of_input], key=_number)
            before[place], after[place] = earlier[count - 1] if count else None, last[of_input]
    return Correction(_truth(columns, before, tasks), _truth(columns, after, tasks))


def _truth(columns: PairColumns, said: Sequence[Said | None], tasks: Tasks) -> Truth:
    classes = tasks[columns.task].classes
    labels = [NO_LABEL if one is None else _code(one[1], classes) for one in said]
    chosen = np.array([1.0 if one is None else one[2] for one in said], dtype=np.float64)
    return Truth(np.array(labels, dtype=np.int64), weights_of(columns.inclusion * chosen))


def _new_labels(labels: Iterable[LabelRow]) -> tuple[dict[Input, int], dict[Input, Said]]:
    """By input, the number of the first new label, and the last new label; labels come by rising number."""
    first: dict[Input, int] = {}
    last: dict[Input, Said] = {}
    for label in labels:
        of_input, number = (label.exchange_id, label.input_index), label.number or 0
        first.setdefault(of_input, number)
        last[of_input] = number, label.label, label.probability
    return first, last


def _inputs(columns: PairColumns) -> Iterator[Input]:
    return zip(columns.exchange_ids, columns.input_index.tolist(), strict=True)


def _code(label: str, classes: Sequence[str]) -> int:
    """NO_LABEL for what is no class of the task."""
    return classes.index(label) if label in classes else NO_LABEL


def _number(said: Said) -> int:
    return said[0]
