"""True labels against pairs: either may come first, and a later label takes the place of an earlier one.

A pair takes the label that was read before it; a label reaches the pairs that were read before it. So each
meets exactly once, in whatever order and tick they arrive, and nothing has to be kept waiting.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from sqlmodel import Session, col, select

from ledger.tables import LabelRow
from monitor.pairs import Pair
from monitor.reading import TaskPair, Tasks
from monitor.sums import SliceSums

QUERY_SIZE = 500  # exchange ids in one query: SQLite allows 999 parameters in old releases

Input = tuple[str, int]  # exchange id, index of the input
History = Mapping[Input, Sequence[tuple[int, str]]]  # (number, label) by rising number
Change = tuple[TaskPair, SliceSums]  # what is to be added to the sums of the pair's slices


def label_history(session: Session, exchange_ids: Collection[str], upto: int) -> History:
    """Every label of these exchanges that arrived up to the number `upto`."""
    history: dict[Input, list[tuple[int, str]]] = {}
    ids = sorted(exchange_ids)
    for first in range(0, len(ids), QUERY_SIZE):
        query = (
            select(LabelRow.exchange_id, LabelRow.input_index, LabelRow.number, LabelRow.label)
            .where(col(LabelRow.exchange_id).in_(ids[first : first + QUERY_SIZE]))
            .where(col(LabelRow.number) <= upto)
            .order_by(col(LabelRow.number))
        )
        for exchange_id, index, number, label in session.exec(query):
            history.setdefault((exchange_id, index), []).append((number or 0, label))
    return history


def labels_of_new_pairs(
    pairs: Iterable[TaskPair], history: History, label_position: int, tasks: Tasks
) -> Iterator[Change]:
    """What labels read in earlier ticks add to the pairs of this one."""
    for task_pair in pairs:
        earlier = history.get(_input_of(task_pair.pair), ())
        count = bisect_right(earlier, label_position, key=_number)
        if count:
            yield task_pair, _label_sums(task_pair, earlier[count - 1][1], tasks)


def labels_of_known_pairs(
    labels: Iterable[LabelRow], known: Iterable[TaskPair], history: History, tasks: Tasks
) -> Iterator[Change]:
    """What newly read labels change for pairs that are folded by the end of this tick."""
    pairs: dict[Input, list[TaskPair]] = {}
    for task_pair in known:
        pairs.setdefault(_input_of(task_pair.pair), []).append(task_pair)
    for label in labels:
        of_input = (label.exchange_id, label.input_index)
        earlier = history.get(of_input, ())
        count = bisect_left(earlier, label.number or 0, key=_number)
        for task_pair in pairs.get(of_input, ()):
            change = _label_sums(task_pair, label.label, tasks)
            if count:
                change = change.subtract(_label_sums(task_pair, earlier[count - 1][1], tasks))
            yield task_pair, change


def _label_sums(task_pair: TaskPair, label: str, tasks: Tasks) -> SliceSums:
    """Nothing for a label that is no class of the task."""
    classes = tasks[task_pair.task].classes
    if label not in classes:
        return SliceSums.empty()
    return SliceSums.of_label(task_pair.pair, classes.index(label))


def _input_of(pair: Pair) -> Input:
    return pair.exchange_id, pair.input_index


def _number(entry: tuple[int, str]) -> int:
    return entry[0]
