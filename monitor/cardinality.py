"""At most so many slices of an open rule: a caller may send any value, and each slice costs rows and a detector.

The values that a student's own pairs showed first, in order of arrival, keep a slice each; so do those that its
gate judged. Pairs of all others go to `NAME=other`. What has a slice is what has sums, and sums are never taken
away, so neither ticks nor restarts change where a pair counts; only the order of several gateways' files does.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from sqlmodel import Session

from ledger.artifacts import GateReport
from ledger.configuration import TaskSection
from ledger.slice_values import OTHER
from ledger.slices import SliceRule
from monitor.columns import PairColumns
from monitor.histograms import Ints
from monitor.slicing import NO_SLICE, SliceColumn

# One step in the table's index for each slice, however many windows it has.
_NAMES = """
WITH RECURSIVE kept (name) AS (
  SELECT (SELECT min(slice) FROM slice_sums WHERE task = ?1 AND artifact = ?2)
  UNION ALL
  SELECT (SELECT min(slice) FROM slice_sums WHERE task = ?1 AND artifact = ?2 AND slice > kept.name)
  FROM kept WHERE kept.name IS NOT NULL
)
SELECT name FROM kept WHERE name IS NOT NULL
"""


@dataclass(slots=True)
class SliceNames:
    """The slices of one student: those that have sums or were judged, and those that are admitted now."""

    kept: set[str]
    overflow: Counter[str] = field(default_factory=Counter)  # rule -> pairs that went to its `other`

    def place(self, rule: SliceRule, names: Iterable[str]) -> dict[str, str]:
        """Where the pairs of these slices count; names that have room are admitted in this order."""
        prefix, other = f"{rule.name}=", f"{rule.name}={OTHER}"
        taken = sum(name.startswith(prefix) and name != other for name in self.kept)
        places = {}
        for name in names:
            if name not in self.kept and name != other and taken < rule.max_values:
                self.kept.add(name)
                taken += 1
            places[name] = name if name in self.kept else other
        return places


def slice_names(session: Session, task: str, artifact: str, gate: GateReport | None) -> SliceNames:
    rows = session.connection().exec_driver_sql(_NAMES, (task, artifact))
    judged = {verdict.slice for verdict in gate.verdicts} if gate is not None else set()
    return SliceNames({name for (name,) in rows} | judged)


def bounded(columns: PairColumns, task: TaskSection, names: Mapping[str, SliceNames]) -> PairColumns:
    """The same pairs, with what has no room counting as `other`; `names` by student learns what is admitted."""
    rules = {rule.name: rule for rule in task.rules if rule.is_open}
    slices = [
        _bounded(columns, column, rules[column.rule], names) if column.rule in rules else column
        for column in columns.slices
    ]
    return replace(columns, slices=tuple(slices))


def _bounded(
    columns: PairColumns, column: SliceColumn, rule: SliceRule, names: Mapping[str, SliceNames]
) -> SliceColumn:
    other = len(column.names)
    codes = column.codes.copy()
    for index, artifact in enumerate(columns.artifacts):
        own = np.flatnonzero((columns.artifact == index) & (codes != NO_SLICE))
        present = list(dict.fromkeys(column.codes[own].tolist()))  # by first appearance
        places = names[artifact].place(rule, [column.names[code] for code in present])
        full = [code for code in present if places[column.names[code]] != column.names[code]]
        moved = own[np.isin(column.codes[own], full)]
        codes[moved] = other
        names[artifact].overflow[rule.name] += len(moved)
    if not (codes == other).any():
        return column
    return SliceColumn(column.rule, *_with_other(column.names, f"{rule.name}={OTHER}", codes))


def _with_other(names: Sequence[str], other: str, codes: Ints) -> tuple[tuple[str, ...], Ints]:
    """A caller may send the value `other` itself: then both are one slice."""
    if other not in names:
        return (*names, other), codes
    return tuple(names), np.where(codes == len(names), names.index(other), codes)
