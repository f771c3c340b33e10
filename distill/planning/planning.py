"""A plan for a task: what its rows can prove, before anything is trained. About a minute for any size of record.

Gate rows are counted by slice and never opened; the cheap student sees training and development rows alone.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from distill.curation.rows import Row
from distill.curation.split import Split
from distill.embedding import Say, embed
from distill.planning.feasibility import Agreements, Plan, SliceNeed, plan_of
from distill.planning.separability import Separability, separability
from ledger.configuration import TaskSection
from ledger.slices import OVERALL, rule_of

TRAIN_ROWS, DEV_ROWS = 1500, 500  # embedded at most; what keeps a plan at about a minute


@dataclass(frozen=True, slots=True)
class Planned:
    plan: Plan
    separability: Separability

    def document(self) -> dict[str, Any]:
        """For the stage's folder and for programs."""
        shown = asdict(self.plan)
        curve = [asdict(point) for point in self.separability.curve]
        return shown | {"curve": curve, "neighbours": asdict(self.separability.neighbours)}


def plan_task(task: TaskSection, split: Split, ceiling: Agreements, looks: int, say: Say) -> Planned:
    """Judge the split of a task. `ceiling` counts the teacher's agreement with itself, `looks` the candidates."""
    train, dev = _spread(split.train, TRAIN_ROWS), _spread(split.dev, DEV_ROWS)
    encoder = task.candidate[0]
    vectors = embed(encoder.encoder, [row.text for row in (*train, *dev)], encoder.max_tokens, say)
    say("learning curve of a cheap student", 0.0)
    found = separability(vectors[: len(train)], _classes(train), vectors[len(train) :], _classes(dev))
    alpha = task.gate.alpha / looks
    return Planned(plan_of(_needs(task, split, dev, found), ceiling, alpha), found)


def _needs(task: TaskSection, split: Split, dev: Sequence[Row], found: Separability) -> list[SliceNeed]:
    """Every slice that has a bar, with the gate's rows of it and what the cheap student reached there."""
    gate = Counter(name for entry in split.gate for name in entry.slices(task.rules))
    asked = Counter(name for row in dev for name in row.slices)
    agreed = Counter(
        name for row, agrees in zip(dev, found.agrees, strict=True) if agrees for name in row.slices
    )
    needs = []
    for name in sorted(gate):
        rule = rule_of(task.rules, name)
        bar = task.gate.bar if name == OVERALL else rule.bar if rule else None
        if bar is not None:
            critical = name == OVERALL or bool(rule and rule.critical)
            reached = Agreements(agreed[name], asked[name])
            needs.append(SliceNeed(name, bar, critical, gate[name], reached))
    return needs


def _spread(rows: Sequence[Row], most: int) -> list[Row]:
    """Rows evenly over the time of the record."""
    if len(rows) <= most:
        return list(rows)
    return [rows[place * len(rows) // most] for place in range(most)]


def _classes(rows: Sequence[Row]) -> list[int]:
    return [row.teacher.top for row in rows]
