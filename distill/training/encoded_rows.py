"""Rows of the record as rows to learn from: token ids, what the teacher said and how surely, and weights."""

from collections.abc import Sequence

import numpy as np

from distill.curation.rows import Row
from distill.training.losses import Said
from distill.training.training_rows import Matrix, TrainingRows
from ledger.observation import Observation
from student.tokens import HeadFirst

MOST_WEIGHT = 10.0  # of a row that the teacher was rarely asked about: more would let single rows steer


def encoded(rows: Sequence[Row], tokens: HeadFirst, incumbent: Matrix | None = None) -> TrainingRows:
    """The rows with the ids that serving would give them; `incumbent` are its probabilities [rows, classes]."""
    return TrainingRows(
        token_ids=tuple(tokens.rows([row.text for row in rows])),
        teacher_probabilities=np.array([row.teacher.probabilities for row in rows], dtype=np.float32),
        weights=np.array([weight_of(row) for row in rows], dtype=np.float32),
        said=np.array([said_by(row.teacher) for row in rows], dtype=np.int8),
        other=np.array([row.teacher.other for row in rows], dtype=np.float32),
        incumbent=incumbent,
    )


def said_by(teacher: Observation) -> Said:
    """What kind of answer it is; a class without probability is listed as impossible only if nothing is `other`."""
    assert teacher.probabilities is not None
    if teacher.hard:
        return Said.CLASS
    return Said.LISTED if teacher.other > 0 and min(teacher.probabilities) == 0 else Said.DISTRIBUTION


def weight_of(row: Row) -> float:
    """All told, within a limit."""
    return min(MOST_WEIGHT, row.weight)
