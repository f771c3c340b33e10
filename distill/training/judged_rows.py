"""The rows by which a quantized file is held against the file that it was made from."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from distill.curation.split import Split
from distill.training.training_rows import Matrix
from ledger.artifacts import TOKENIZER_FILE
from student.tokens import TokenIds, head_first, load_tokenizer

MOST_ROWS = 1000  # a transformer takes half a minute of processor time over them


@dataclass(frozen=True, slots=True)
class JudgedRows:
    """Rows that answers are compared on, and that tell the temperature where they are `calibrating`."""

    token_ids: Sequence[TokenIds]
    targets: Matrix  # the teacher's probabilities [rows, classes]
    calibrating: NDArray[np.bool_]  # [rows]: neither trained the student nor chose it
    slices: Sequence[Sequence[str]]  # of each row


def judged_rows(split: Split, artifact: Path, max_tokens: int) -> JudgedRows:
    """Calibration rows and dev rows, at most half of MOST_ROWS of either where there are more, as they came.

    `artifact` is the folder whose tokenizer gives the ids, as serving would.
    """
    calibrating, others = _share(split.calibration, split.dev), _share(split.dev, split.calibration)
    rows = [*split.calibration[:calibrating], *split.dev[:others]]
    tokens = head_first(load_tokenizer(artifact / TOKENIZER_FILE, max_tokens), max_tokens)
    return JudgedRows(
        tokens.rows([row.text for row in rows]),
        np.array([row.teacher.probabilities for row in rows], dtype=np.float32),
        np.arange(len(rows)) < calibrating,
        [row.slices for row in rows],
    )


def _share(of: Sequence[object], beside: Sequence[object]) -> int:
    """How many of the one, when the other leaves room."""
    return min(len(of), max(MOST_ROWS // 2, MOST_ROWS - len(beside)))
