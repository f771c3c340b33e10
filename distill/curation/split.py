"""Which rows train, stop, calibrate and gate: decided by a hash of the text, so that it never changes.

Near-duplicates stay in one part. A gate row is a gate row for ever: rows of earlier locks, and those that nearly are
such rows, are kept out of training in every later round.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from distill.curation.rows import Row
from ledger.configuration import GateSection
from ledger.slices import OVERALL, SliceRule, rule_of
from monitor.training_window import rows_wanted

LockedRows = Mapping[str, str | None]  # digest -> the rule that an earlier gate drew the row for

LEAST_GATE_SHARE, MOST_GATE_SHARE = 0.15, 0.35  # of all rows, drawn whatever their slice
DEV_SHARE, CALIBRATION_SHARE = 0.12, 0.15  # of what the gate leaves


class LeftOut(StrEnum):
    """Why a row is in no part."""

    GATE_BEFORE = "gate_before"  # an earlier gate held it, or one nearly the same
    NEAR_GATE = "near_gate"  # it would train and is nearly, or means nearly, the same as a row of the gate


@dataclass(frozen=True, slots=True)
class GateRow:
    """A row of the gate; `drawn_for` names the rule that it was drawn for beyond the natural draw.

    Such a row says nothing about other rules' slices, where its kind would be over-represented.
    """

    row: Row
    drawn_for: str | None

    def slices(self, rules: Sequence[SliceRule]) -> tuple[str, ...]:
        """The slices whose statistics this row may enter."""
        if self.drawn_for is None:
            return self.row.slices
        return tuple(
            name
            for name in self.row.slices
            if name != OVERALL and (rule := rule_of(rules, name)) and rule.name == self.drawn_for
        )


@dataclass(frozen=True, slots=True)
class Split:
    gate: tuple[GateRow, ...]
    train: tuple[Row, ...]
    dev: tuple[Row, ...]
    calibration: tuple[Row, ...]
    left_out: Mapping[str, int] = field(default_factory=dict)


def draw_gate(
    rows: Sequence[Row], rules: Sequence[SliceRule], gate: GateSection, locked_before: LockedRows
) -> tuple[GateRow, ...]:
    """Draw rows whatever their slice, then more for each critical slice that can be proved."""
    share = min(MOST_GATE_SHARE, max(LEAST_GATE_SHARE, gate.rows / max(1, len(rows))))
    drawn = {
        row.digest: GateRow(row, _drawn_before(row, locked_before))
        for row in rows
        if _is_in(row, locked_before) or _uniform("gate", row.group_id) < share
    }
    for rule in (rule for rule in rules if rule.critical):
        for extra in _quota(rows, rule, gate.slice_rows, drawn):
            drawn[extra.digest] = GateRow(extra, rule.name)
    return (*drawn.values(), *_of_the_same_groups(rows, drawn))


def _of_the_same_groups(rows: Sequence[Row], drawn: Mapping[str, GateRow]) -> list[GateRow]:
    """What else is in a group of which a row was drawn, as that row was drawn."""
    drawn_for = {entry.row.group_id: entry.drawn_for for entry in drawn.values()}
    return [
        GateRow(row, drawn_for[row.group_id])
        for row in rows
        if row.digest not in drawn and row.group_id in drawn_for
    ]


def split_rows(rows: Sequence[Row], locked: LockedRows, locked_before: LockedRows) -> Split:
    """Give the locked rows to the gate and divide what no gate ever held."""
    gate = tuple(GateRow(row, locked[row.digest]) for row in rows if row.digest in locked)
    held = {row.group_id for row in rows if _is_in(row, locked) or _is_in(row, locked_before)}
    parts: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if row.digest not in locked:
            parts["held" if row.group_id in held else _part(_uniform("part", row.group_id))].append(row)
    train, dev, calibration = (tuple(parts[name]) for name in ("train", "dev", "calibration"))
    left_out = {str(LeftOut.GATE_BEFORE): len(parts["held"])} if parts["held"] else {}
    return Split(gate, train, dev, calibration, left_out)


def _is_in(row: Row, lock: LockedRows) -> bool:
    """Any of the texts that it stands for."""
    return any(digest in lock for digest in row.digests)


def _drawn_before(row: Row, locked_before: LockedRows) -> str | None:
    return next((locked_before[digest] for digest in row.digests if digest in locked_before), None)


def _part(position: float) -> str:
    if position < DEV_SHARE:
        return "dev"
    return "calibration" if position < DEV_SHARE + CALIBRATION_SHARE else "train"


def _quota(rows: Sequence[Row], rule: SliceRule, slice_rows: int, drawn: Mapping[str, GateRow]) -> list[Row]:
    """Rows to add so that each slice of the rule that can has `slice_rows`, in the order of their hash."""
    total = Counter(_slice_of(row, rule) for row in rows)
    usable = [entry.row for entry in drawn.values() if entry.drawn_for in (None, rule.name)]
    have = Counter(_slice_of(row, rule) for row in usable)
    added = []
    for row in sorted(rows, key=lambda row: _uniform("gate", row.digest)):
        name = _slice_of(row, rule)
        if name is None or row.digest in drawn or total[name] < rows_wanted(slice_rows):
            continue
        if have[name] < slice_rows:
            have[name] += 1
            added.append(row)
    return added


def _slice_of(row: Row, rule: SliceRule) -> str | None:
    return next((name for name in row.slices if name.startswith(f"{rule.name}=")), None)


def _uniform(purpose: str, digest: str) -> float:
    """A number in [0, 1) that depends on the text and the purpose alone."""
    hashed = hashlib.blake2b(f"{purpose}|{digest}".encode(), digest_size=8).digest()
    return int.from_bytes(hashed, "big") / 2**64
