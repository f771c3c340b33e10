"""The teacher of a corpus: a sentence encoder with a linear head that learnt from the true labels.

Its answers are computed once for each corpus and kept in the cache: every trial distils the same teacher.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from benchmarks.distillation.corpora import Corpus, LabelledText
from distill.embedding import embed
from examples.helpdesk.corpus import fetch_encoder

MAX_TOKENS = 64
STRENGTH = 10.0  # C of the logistic regression on unit vectors

Matrix = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Answered:
    """Rows with the teacher's probabilities [rows, classes] and the true classes [rows]."""

    rows: tuple[LabelledText, ...]
    teacher: Matrix
    truth: NDArray[np.int64]

    @property
    def teacher_accuracy(self) -> float:
        return float((self.teacher.argmax(axis=1) == self.truth).mean())


@dataclass(frozen=True, slots=True)
class TeacherHead:
    classifier: LogisticRegression
    classes: tuple[str, ...]

    def answer(self, rows: Sequence[LabelledText], vectors: Matrix) -> Answered:
        probabilities = self.classifier.predict_proba(vectors).astype(np.float32)
        truth = np.array([self.classes.index(row.label) for row in rows])
        return Answered(tuple(rows), probabilities / probabilities.sum(axis=1, keepdims=True), truth)


def fitted_teacher(corpus: Corpus, rows: Sequence[LabelledText], cache: Path) -> TeacherHead:
    labels = [corpus.classes.index(row.label) for row in rows]
    vectors = vectors_of(rows, cache)
    return TeacherHead(LogisticRegression(C=STRENGTH, max_iter=1000).fit(vectors, labels), corpus.classes)


def vectors_of(rows: Sequence[LabelledText], cache: Path) -> Matrix:
    """Embeddings of the rows' texts, kept in the cache under a hash of the texts."""
    digest = hashlib.sha256("\0".join(row.text for row in rows).encode()).hexdigest()[:16]
    path = cache / "embeddings" / f"{digest}.npy"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        vectors = embed(str(fetch_encoder(cache)), [row.text for row in rows], MAX_TOKENS)
        staging = path.with_suffix(".part.npy")
        np.save(staging, vectors)
        staging.rename(path)
    loaded: Matrix = np.load(path)
    return loaded
