"""What a set of rows cannot give, said before anything is spent: the run stops, or goes on with a note."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from distill.curation.rows import Ingested, Row, Unusable
from ledger.configuration import TaskSection

LEAST_OF_A_CLASS = 50  # rows: below, a class is learned badly
ROUNDED = 3  # decimals: probabilities with no more of them were rounded by somebody


@dataclass(frozen=True, slots=True)
class Sufficiency:
    """`stops` are why nothing can be distilled, `notes` what the run should tell."""

    stops: tuple[str, ...]
    notes: tuple[str, ...]


def sufficiency(ingested: Ingested, rows: Sequence[Row], task: TaskSection) -> Sufficiency:
    """`rows` are the distinct ones of what was ingested."""
    stops = [*_too_few(ingested, rows, task), *_all_alike(rows, task)]
    notes = [*_thin_classes(rows, task), *_thin_slices(rows, task), *_teacher(ingested), *_rounded(rows)]
    return Sufficiency(tuple(stops), tuple(notes) if not stops else ())


def _too_few(ingested: Ingested, rows: Sequence[Row], task: TaskSection) -> list[str]:
    wanted = task.gate.train_rows
    if len(rows) >= wanted:
        return []
    left_out = ", ".join(f"{count} {reason}" for reason, count in sorted(ingested.unusable.items()))
    had = (
        f"only {len(rows)} distinct rows, and gate.train_rows is {wanted}; left out: {left_out or 'nothing'}."
    )
    return [f"{had} Record longer, extend curation.window_days or lower gate.train_rows"]


def _all_alike(rows: Sequence[Row], task: TaskSection) -> list[str]:
    if len(rows) > 1 and len({row.group_id for row in rows}) == 1:
        return ["all texts are nearly the same one: there is nothing to learn to tell apart"]
    answered = {row.teacher.top for row in rows}
    if len(answered) != 1:
        return []
    (only,) = answered
    said = f"the teacher answered {task.classes[only]!r} to all of {len(rows)} rows"
    return [
        f"{said}: a student would learn to say nothing else; record other traffic, or look at the declared classes"
    ]


def _thin_classes(rows: Sequence[Row], task: TaskSection) -> list[str]:
    had = Counter(row.teacher.top for row in rows)
    thin = [
        f"{name} {had[place]}" for place, name in enumerate(task.classes) if had[place] < LEAST_OF_A_CLASS
    ]
    return [f"classes with fewer than {LEAST_OF_A_CLASS} rows: {', '.join(thin)}"] if thin else []


def _thin_slices(rows: Sequence[Row], task: TaskSection) -> list[str]:
    had = Counter(name for row in rows for name in row.slices)
    notes = []
    for rule in (rule for rule in task.rules if rule.critical):
        of_rule = {name: count for name, count in had.items() if name.startswith(f"{rule.name}=")}
        thin = [f"{name} {count}" for name, count in sorted(of_rule.items()) if count < task.gate.slice_rows]
        if not of_rule:
            notes.append(f"the critical slice rule {rule.name!r} says nothing of any row: it has no slices")
        elif thin:
            notes.append(f"critical slices with fewer rows than gate.slice_rows: {', '.join(thin)}")
    return notes


def _teacher(ingested: Ingested) -> list[str]:
    other = ingested.unusable.get(Unusable.OTHER_TEACHER, 0)
    before = ingested.unusable.get(Unusable.BEFORE_TEACHER_CHANGE, 0)
    if not other and not before:
        return []
    by_others = f"{other} inputs were answered by another version and {before} before it was seen to change"
    return [f"the teacher changed within the window: {by_others}; none of them is learned from"]


def _rounded(rows: Sequence[Row]) -> list[str]:
    """Softened, values that were rounded to 0 are mostly noise (distill's losses choose the temperature by it)."""
    soft = [row.teacher.probabilities for row in rows if not row.teacher.hard and row.teacher.probabilities]
    if soft and all(round(value, ROUNDED) == value for one in soft for value in one):
        return [f"the teacher's probabilities are rounded to {ROUNDED} decimals or fewer"]
    return []
