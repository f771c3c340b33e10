"""Rows that no student can learn from, said before any time is spent on them."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from distill.training.training_rows import TrainingRows


class Lack(StrEnum):
    """Why there is nothing to learn."""

    NO_ROWS = "no_rows"
    NO_DEV_ROWS = "no_dev_rows"
    NO_WEIGHT = "no_weight"
    NOT_FINITE = "not_finite"
    ONE_CLASS = "one_class"
    ONE_TEXT = "one_text"


@dataclass(frozen=True, slots=True)
class Untrainable:
    """A verdict on the rows, in a sentence that names the way out."""

    lack: Lack
    reason: str


def untrainable(train: TrainingRows, dev: TrainingRows) -> Untrainable | None:
    """The first thing that is wrong with the rows, or None."""
    if not len(train):
        return Untrainable(Lack.NO_ROWS, "there are no rows to train on; record more traffic")
    if not len(dev):
        return Untrainable(Lack.NO_DEV_ROWS, "there are no rows to stop training by; record more traffic")
    if not (np.isfinite(train.weights).all() and np.isfinite(train.teacher_probabilities).all()):
        return Untrainable(Lack.NOT_FINITE, "a row's weight or the teacher's answer to it is not a number")
    if not (train.weights.sum() > 0 and train.weights.min() >= 0):
        return Untrainable(
            Lack.NO_WEIGHT, "all rows have weight 0, or one has less; look at the curation's counts"
        )
    weighed = np.flatnonzero(train.weights)
    if len({train.token_ids[row] for row in weighed}) == 1:
        reason = (
            f"all {len(weighed)} rows are the same text once encoded; record other texts, or raise max_tokens of"
            " the candidate if they differ further on"
        )
        return Untrainable(Lack.ONE_TEXT, reason)
    said = np.unique(train.teacher_probabilities[weighed].argmax(axis=1))
    if len(said) == 1:
        reason = (
            f"the teacher said one class ({int(said[0])} of {train.teacher_probabilities.shape[1]}, counted from 0)"
            f" in all {len(weighed)} rows: a student of them would say nothing else; record traffic of the others"
        )
        return Untrainable(Lack.ONE_CLASS, reason)
    return None
