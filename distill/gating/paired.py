"""What is judged input by input beside another student: negative flips, accuracy, and quantization."""

import math
from collections.abc import Callable, Iterator, Sequence

from distill.gating.criterion import Criterion, judged, not_judged
from distill.gating.look import Look
from ledger.artifacts import CriterionVerdict
from ledger.slices import OVERALL
from monitor.intervals import (
    lower_bound,
    paired_loss_upper_bound_exact,
    upper_bound,
)
from monitor.verdict import Bar, Known

LEAST_LABELS = 30  # fewer may all be of one kind


def flip_rows(look: Look) -> Iterator[CriterionVerdict]:
    """Rows where the incumbent agreed with the teacher and the candidate does not, overall and by slice."""
    bar, incumbent = look.task.criteria.max_negative_flips, look.incumbent
    if incumbent is None:
        yield not_judged(Criterion.FLIPS, OVERALL, "there is no incumbent to compare with")
        return

    def flipped(place: int) -> bool:
        pair = look.pairs[place]
        return incumbent[place].top == pair.teacher.top and not pair.agrees

    said = "rows that the incumbent had right are wrong now"
    yield from _share_rows(look, Criterion.FLIPS, flipped, bar, said, "criteria.max_negative_flips")


def quantization_rows(look: Look) -> Iterator[CriterionVerdict]:
    """Rows that the quantized artifact answers otherwise than the one that it was made from."""
    original = look.original
    if original is None:
        return

    def flipped(place: int) -> bool:
        return original[place].top != look.answers[place].top

    bar = look.task.criteria.max_quantized_flips
    said = "answers changed by quantization"
    yield from _share_rows(look, Criterion.QUANTIZATION, flipped, bar, said, "criteria.max_quantized_flips")


def _share_rows(
    look: Look,
    criterion: Criterion,
    happened: Callable[[int], bool],
    bar: float | None,
    said: str,
    setting: str,
) -> Iterator[CriterionVerdict]:
    """The overall share is held to the bar; those of slices are told."""
    for name in (OVERALL, *(name for name in look.members if name != OVERALL)):
        places = look.members.get(name, ())
        count, total = sum(map(happened, places)), len(places)
        known = share_known(count, total, look.alpha, f"{count} of {total} {said}")
        if bar is None:
            yield not_judged(criterion, name, f"{setting} is not set", known)
        elif name == OVERALL:
            yield judged(criterion, name, known, Bar(bar, is_least=False), _least_below(bar, look.alpha))
        elif count:
            yield not_judged(criterion, name, "the budget is one for all traffic", known)


def accuracy_rows(look: Look) -> Iterator[CriterionVerdict]:
    """Accuracy on verified labels: no worse than the incumbent's by more than the margin, row by row."""
    labelled = [place for place in look.drawn if look.labels[place] is not None]
    margin, incumbent = look.task.criteria.max_accuracy_loss, look.incumbent
    right = [look.answers[place].top == look.labels[place] for place in labelled]
    known = share_known(sum(right), len(right), look.alpha, f"{sum(right)} of {len(right)} labels are met")
    if not labelled:
        yield not_judged(Criterion.ACCURACY, OVERALL, "no row of the gate has a verified label")
        return
    teacher = [look.pairs[place].teacher.top == look.labels[place] for place in labelled]
    said = f"{sum(teacher)} of {len(teacher)} labels are met"
    of_teacher = share_known(sum(teacher), len(teacher), look.alpha, said)
    yield not_judged(Criterion.ACCURACY, "candidate", "it is told beside the loss below", known)
    yield not_judged(Criterion.ACCURACY, "teacher", "it is told beside the candidate's", of_teacher)
    if incumbent is None:
        yield not_judged(Criterion.ACCURACY, "loss", "there is no incumbent to compare with")
        return
    before = [incumbent[place].top == look.labels[place] for place in labelled]
    loss = loss_known(before, right, look.alpha, "the incumbent")
    if margin is None:
        yield not_judged(Criterion.ACCURACY, "loss", "criteria.max_accuracy_loss is not set", loss)
    else:
        yield judged(Criterion.ACCURACY, "loss", loss, Bar(margin, is_least=False), LEAST_LABELS)


def loss_known(before: Sequence[bool], now: Sequence[bool], alpha: float, whose: str) -> Known:
    """How much lower the second share is on the same inputs, with exact one-sided bounds."""
    losses = sum(old and not new for old, new in zip(before, now, strict=True))
    gains = sum(new and not old for old, new in zip(before, now, strict=True))
    count = len(before)
    return Known(
        f"{losses} labels met by {whose} alone and {gains} by the candidate alone, of {count}",
        count,
        (losses - gains) / count if count else None,
        -paired_loss_upper_bound_exact(gains, losses, count, alpha),
        paired_loss_upper_bound_exact(losses, gains, count, alpha),
    )


def share_known(count: int, total: int, alpha: float, said: str) -> Known:
    """A share with exact one-sided bounds at alpha each."""
    return Known(
        said,
        total,
        count / total if total else None,
        lower_bound(count, total, alpha),
        upper_bound(count, total, alpha),
    )


def _least_below(bar: float, alpha: float) -> int:
    """Rows with which none at all would prove a share below the bar."""
    return math.ceil(math.log(alpha) / math.log(1 - bar))
