"""Whether answers stay the same when texts are changed in ways that mean nothing; of the teacher too, where it can be
asked."""

from collections.abc import Iterator, Sequence

from distill.gating.criterion import Criterion, judged, not_judged
from distill.gating.look import Look
from distill.gating.paired import share_known
from distill.gating.perturbations import PERTURBATIONS, changed
from ledger.artifacts import CriterionVerdict
from monitor.verdict import Bar, Known

MOST_ROWS = 200  # of the gate, changed in each way
TEACHER_ROWS = 20  # in each way: every one of them is an extra call
LEAST_ROWS = 30


def robustness_rows(look: Look) -> Iterator[CriterionVerdict]:
    """A row for each kind of change; below them the teacher's own, which no bar is held against."""
    places = look.drawn[:MOST_ROWS]
    if not places:
        return
    bars = look.task.criteria.robustness
    for kind in PERTURBATIONS:
        known, bar = _stays(look, kind, places), getattr(bars, kind)
        if bar is None:
            yield not_judged(Criterion.ROBUSTNESS, kind, f"criteria.robustness.{kind} is not set", known)
        else:
            yield judged(Criterion.ROBUSTNESS, kind, known, Bar(bar), LEAST_ROWS)
    yield from _of_teacher(look, places[:TEACHER_ROWS])


def _stays(look: Look, kind: str, places: Sequence[int]) -> Known:
    answers = look.student.answer(_texts(look, kind, places))
    same = sum(
        answer.probabilities is not None and answer.top == look.answers[place].top
        for place, answer in zip(places, answers, strict=True)
    )
    said = f"{same} of {len(places)} answers stay the same"
    return share_known(same, len(places), look.alpha, said)


def _texts(look: Look, kind: str, places: Sequence[int]) -> list[str]:
    classes = look.task.classes
    return [
        changed(kind, row.text, row.digest, classes[(look.answers[place].top + 1) % len(classes)])
        for place in places
        for row in (look.entries[place].row,)
    ]


def _of_teacher(look: Look, places: Sequence[int]) -> Iterator[CriterionVerdict]:
    ask = look.beside.ask_teacher
    if ask is None:
        yield not_judged(Criterion.TEACHER, "robustness", "the teacher was not asked about changed texts")
        return
    for kind in PERTURBATIONS:
        replies = ask(_texts(look, kind, places))
        told = [
            reply.top == look.pairs[place].teacher.top
            for place, reply in zip(places, replies, strict=True)
            if reply is not None and reply.probabilities is not None
        ]
        said = f"{sum(told)} of {len(told)} answers of the teacher stay the same"
        known = share_known(sum(told), len(told), look.alpha, said)
        yield not_judged(Criterion.TEACHER, kind, "the teacher is held to no bar", known)
