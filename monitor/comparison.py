"""Two students on the same inputs: where each agrees with the teacher and the other does not, slice by slice."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ledger.configuration import TaskSection
from ledger.exchange_file import answers_of, exchange_paths, exchanges_of_task, reading
from ledger.slices import OVERALL
from monitor.intervals import (
    bounded_share,
    holm,
    paired_loss_high,
    paired_loss_upper_bound,
    paired_p_value,
)
from monitor.pairs import Pair, pairs_of, teacher_observations_of


@dataclass(frozen=True, slots=True)
class PairedCounts:
    """Inputs that both students answered, by who agreed with the teacher."""

    inputs: int = 0
    old_agreements: int = 0
    new_agreements: int = 0
    losses: int = 0  # the old one agreed, the new one does not
    gains: int = 0

    def with_input(self, old: bool, new: bool) -> "PairedCounts":
        return PairedCounts(
            self.inputs + 1,
            self.old_agreements + old,
            self.new_agreements + new,
            self.losses + (old and not new),
            self.gains + (new and not old),
        )


def paired_counts(
    data_directory: Path, task: TaskSection, old: str, new: str, since_us: int = 0
) -> dict[str, PairedCounts]:
    """Counts per slice over exchanges since a moment whose teacher was asked whatever the students said."""
    counts: dict[str, PairedCounts] = {}
    for older, newer in _inputs(data_directory, task, old, new, since_us):
        for name in older.slices:
            counts[name] = counts.get(name, PairedCounts()).with_input(older.agrees, newer.agrees)
    return counts


def compare(counts: dict[str, PairedCounts], alpha: float = 0.05) -> list[dict[str, Any]]:
    """Plain rows, the overall slice first: loss, its upper bound, and whether it is significant after Holm.

    The overall slice is judged alone; Holm is over the others. `loss_upper_bound`, `p_value` and `significant` are
    for one look; `loss_high` and the bounds of both fidelities hold at every look.
    """
    names = sorted(counts, key=lambda name: (name != OVERALL, name))
    others = [name for name in names if name != OVERALL]
    significant = dict(zip(others, holm(_p_values(counts, others), alpha), strict=True))
    return [_row(name, counts[name], significant.get(name), alpha) for name in names]


def _p_values(counts: dict[str, PairedCounts], names: Sequence[str]) -> list[float]:
    return [paired_p_value(counts[name].losses, counts[name].gains) for name in names]


def _row(name: str, counts: PairedCounts, significant: bool | None, alpha: float) -> dict[str, Any]:
    p_value = paired_p_value(counts.losses, counts.gains)
    return {
        "slice": name,
        "inputs": counts.inputs,
        **_fidelity("old", counts.old_agreements, counts.inputs),
        **_fidelity("new", counts.new_agreements, counts.inputs),
        "old_agreements": counts.old_agreements,
        "new_agreements": counts.new_agreements,
        "losses": counts.losses,
        "gains": counts.gains,
        "loss_high": paired_loss_high(counts.losses, counts.gains, counts.inputs, alpha),
        "loss_upper_bound": paired_loss_upper_bound(counts.losses, counts.gains, counts.inputs, alpha),
        "p_value": p_value,
        "significant": p_value <= alpha if significant is None else significant,
    }


def _fidelity(side: str, agreements: int, inputs: int) -> dict[str, float | None]:
    share = bounded_share(agreements, inputs)
    return {
        f"{side}_fidelity": share.value,
        f"{side}_fidelity_low": share.low,
        f"{side}_fidelity_high": share.high,
    }


def _inputs(
    data_directory: Path, task: TaskSection, old: str, new: str, since_us: int
) -> Iterable[tuple[Pair, Pair]]:
    for path in exchange_paths(data_directory):
        with reading(path) as connection:
            for exchange in exchanges_of_task(connection, task.name, since_us):
                answers = answers_of(connection, exchange.sequence)
                teacher = teacher_observations_of(exchange, answers)
                by_input = {
                    (answer.responder, pair.input_index): pair
                    for answer in answers
                    if answer.responder in (old, new)
                    for pair in pairs_of(exchange, answer, teacher, task.rules, task.classes)
                }
                for index in range(len(exchange.input_words)):
                    if (old, index) in by_input and (new, index) in by_input:
                        yield by_input[old, index], by_input[new, index]
