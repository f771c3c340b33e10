"""Vectors of rows: those of an encoder where one is given, else of the words themselves. They are kept nowhere."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from distill.curation.rows import Row
from distill.curation.texts import terms

LEXICAL_WIDTH = 64  # of the space of words; more changes its clusters little
LEXICAL_COLUMNS = 2**14  # words are hashed into; two that share one cost little
LEAST_ROWS = 100  # below, words span no space worth the name: every row is one point

Matrix = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Embedded:
    """Vectors of unit length [rows, width] by the rows' digests."""

    places: Mapping[str, int]
    vectors: Matrix
    is_semantic: bool  # an encoder's: near means alike, not only the same words

    def of(self, rows: Sequence[Row]) -> Matrix:
        found: Matrix = self.vectors[[self.places[row.digest] for row in rows]]
        return found


def embedded(rows: Sequence[Row], vectors: NDArray[np.floating]) -> Embedded:
    """`vectors` [rows, width] of an encoder, in the order of the rows."""
    return Embedded({row.digest: place for place, row in enumerate(rows)}, _unit(vectors), True)


def lexical(rows: Sequence[Row], seed: int = 0) -> Embedded:
    """TF-IDF of words, projected on its first directions (latent semantic analysis, Deerwester et al. 1990)."""
    places = {row.digest: place for place, row in enumerate(rows)}
    if len(rows) < LEAST_ROWS:
        return Embedded(places, np.ones((len(rows), 1), np.float32), False)
    return Embedded(places, _unit(_projected([row.text for row in rows], seed)), False)


def _projected(texts: Sequence[str], seed: int) -> NDArray[np.floating]:
    from scipy.sparse import csr_array
    from sklearn.decomposition import TruncatedSVD  # takes a second to import
    from sklearn.feature_extraction.text import TfidfTransformer

    columns = [terms(text) % np.uint64(LEXICAL_COLUMNS) for text in texts]
    ends = np.cumsum([0, *map(len, columns)])
    places = np.concatenate(columns).astype(np.int64)
    counts = csr_array((np.ones(len(places)), places, ends), shape=(len(texts), LEXICAL_COLUMNS))
    counts.sum_duplicates()
    weighed = TfidfTransformer(sublinear_tf=True).fit_transform(counts)
    projection = TruncatedSVD(LEXICAL_WIDTH, n_iter=2, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # texts that are all the same have no variance to explain
        return np.asarray(projection.fit_transform(weighed), np.float32)


def _unit(vectors: NDArray[np.floating]) -> Matrix:
    wide = np.asarray(vectors, np.float32)
    lengths = np.linalg.norm(wide, axis=1, keepdims=True)
    unit: Matrix = np.divide(wide, lengths, out=np.zeros_like(wide), where=lengths > 0)
    return unit


def clusters(vectors: Matrix, count: int, seed: int = 0) -> NDArray[np.int64]:
    """The cluster of each row, by k-means in small batches; all in one where there are too few rows."""
    if count < 2 or len(np.unique(vectors[: 10 * count], axis=0)) < count:
        return np.zeros(len(vectors), np.int64)
    from sklearn.cluster import MiniBatchKMeans

    means = MiniBatchKMeans(count, random_state=seed, n_init=3, batch_size=2048)
    found: NDArray[np.int64] = means.fit_predict(vectors).astype(np.int64)
    return found
