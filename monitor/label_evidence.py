"""What one tick's labels show of each slice of each student: first labels alone, since a bet cannot be taken back."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from monitor.arrivals import Flow, flow_of
from monitor.columns import PairColumns
from monitor.histograms import Bools, Ints
from monitor.regret import Regrets
from monitor.slicing import NO_SLICE
from monitor.trigger import Slice
from monitor.truths import Told, Truth


@dataclass(slots=True)
class _Gathered:
    """Of one slice; filled while the tick's labels are gone through."""

    digests: set[str] = field(default_factory=set)
    regrets: Counter[tuple[int, bool]] = field(default_factory=Counter)
    weights: list[int] = field(default_factory=list)
    at_us: int = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Labels:
    """Of one slice."""

    regrets: Regrets  # identical inputs count once
    flow: Flow  # all of them, without the pairs
    at_us: int  # start of the earliest exchange


def labels_by_slice(told: Told) -> dict[Slice, Labels]:
    """Pairs whose true class became known in this tick. A later label corrects sums, and no evidence."""
    gathered: dict[Slice, _Gathered] = {}
    for columns, truth, first in _first_labels(told):
        if first.any():
            _gather(gathered, columns, truth, np.flatnonzero(first))
    return {
        of_slice: Labels(dict(one.regrets), flow_of(0, one.weights), one.at_us)
        for of_slice, one in gathered.items()
    }


def pairs_by_slice(pages: Sequence[PairColumns]) -> dict[Slice, int]:
    """Every pair, repeated inputs too."""
    found: Counter[Slice] = Counter()
    for columns in pages:
        for rule in columns.slices:
            inside = rule.codes != NO_SLICE
            width = max(1, len(rule.names))
            where = columns.artifact[inside] * width + rule.codes[inside]
            for place, count in enumerate(np.bincount(where).tolist()):
                if count:
                    found[columns.artifacts[place // width], rule.names[place % width]] += count
    return dict(found)


def _first_labels(told: Told) -> Iterator[tuple[PairColumns, Truth, Bools]]:
    for columns, truth in told.new:
        yield columns, truth, truth.known
    for columns, correction in told.known:
        yield columns, correction.after, correction.after.known & ~correction.before.known


def _gather(gathered: dict[Slice, _Gathered], columns: PairColumns, truth: Truth, places: Ints) -> None:
    teacher, student = columns.measures.teacher_top, columns.measures.student_top
    regret = (teacher == truth.labels) & (student != truth.labels)
    for rule in columns.slices:
        for place in places[rule.codes[places] != NO_SLICE].tolist():
            of_slice = columns.artifacts[columns.artifact[place]], rule.names[rule.codes[place]]
            one = gathered.setdefault(of_slice, _Gathered())
            weight = int(truth.weights[place])
            one.weights.append(weight)
            one.at_us = min(one.at_us, int(columns.at_us[place]))
            if columns.digests[place] not in one.digests:
                one.digests.add(columns.digests[place])
                one.regrets[weight, bool(regret[place])] += 1
