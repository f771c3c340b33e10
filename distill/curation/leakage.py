"""Training rows too near to a row of the gate do not train; the gate keeps its rows, whatever resembles them."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from distill.curation.embedded import Embedded
from distill.curation.near_duplicates import near_to_any
from distill.curation.rows import Row
from distill.curation.split import LeftOut, Split
from distill.curation.texts import lists_of
from ledger.configuration import CurationSection

_CHUNK = 512  # rows compared with the whole gate at once


def without_leaks(
    split: Split, settings: CurationSection, space: Embedded | None = None, held: Sequence[Row] = ()
) -> Split:
    """By shingles, and by cosine where an encoder's vectors are given.

    `held` are rows of earlier gates that the window no longer has: ingest finds them where their digests are among
    those to replay.
    """
    gate = [*(entry.row for entry in split.gate), *held]
    near = np.array(
        near_to_any(_shingles(split.train), _shingles(gate), settings.leak_jaccard), dtype=bool
    ).reshape(len(split.train))
    if space is not None and space.is_semantic:
        near |= _means_nearly_the_same(split.train, gate, space, settings.leak_cosine)
    if not near.any():
        return split
    train = tuple(row for row, leaks in zip(split.train, near, strict=True) if not leaks)
    return replace(split, train=train, left_out={**split.left_out, LeftOut.NEAR_GATE: int(near.sum())})


def _shingles(rows: Sequence[Row]) -> list[np.ndarray]:
    return lists_of([row.text for row in rows])


def _means_nearly_the_same(
    rows: Sequence[Row], gate: Sequence[Row], space: Embedded, cosine: float
) -> np.ndarray:
    if not rows or not any(row.digest in space.places for row in gate):
        return np.zeros(len(rows), dtype=bool)
    theirs = space.of([row for row in gate if row.digest in space.places])
    vectors = space.of(rows)
    chunks = [vectors[start : start + _CHUNK] @ theirs.T for start in range(0, len(rows), _CHUNK)]
    return np.concatenate([products.max(axis=1) for products in chunks]) >= cosine
