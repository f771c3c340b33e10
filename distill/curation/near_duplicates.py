"""Texts that are nearly the same, found by MinHash and verified by their shingles.

Broder (1997), "On the resemblance and containment of documents"; sketches and index are those of datasketch.
"""

from collections.abc import Sequence

import numpy as np
from datasketch import MinHash, MinHashLSH

from distill.curation.texts import Shingles, jaccard

PERMUTATIONS = 128
WEIGHTS = (0.1, 0.9)  # of what the index finds too much, which is verified anyway, and of what it misses
NEARLY_EQUAL = 0.95  # a text this near to an indexed one would find nothing that the indexed one does not
MOST_COMPARED = 50  # candidates a text

_BLANK = MinHash(PERMUTATIONS, seed=1, hashfunc=int)  # hashes are made already


def near_groups(texts: Sequence[Shingles], least: float) -> list[int]:
    """For each text the place of the first of its group: those that a chain of near texts connects."""
    first = list(range(len(texts)))
    index = MinHashLSH(least, PERMUTATIONS, weights=WEIGHTS)
    for place, text in enumerate(texts):
        sketch = _sketch(text)
        nearest = 0.0
        for found in _candidates(index, sketch):
            likeness = jaccard(text, texts[found])
            nearest = max(nearest, likeness)
            if likeness >= least:
                _join(first, place, found)
        if nearest < NEARLY_EQUAL:
            index.insert(place, sketch)
    return [_root(first, place) for place in range(len(texts))]


def near_to_any(texts: Sequence[Shingles], others: Sequence[Shingles], least: float) -> list[bool]:
    """Whether one of the others is near, for each text."""
    index = MinHashLSH(least, PERMUTATIONS, weights=WEIGHTS)
    for place, other in enumerate(others):
        index.insert(place, _sketch(other))
    return [
        any(jaccard(text, others[found]) >= least for found in _candidates(index, _sketch(text)))
        for text in texts
    ]


def _sketch(text: Shingles) -> MinHash:
    sketch = _BLANK.copy()
    sketch.update_batch((text & np.uint64(0xFFFFFFFF)).tolist())
    return sketch


def _candidates(index: MinHashLSH, sketch: MinHash) -> list[int]:
    return sorted(index.query(sketch))[:MOST_COMPARED]


def _root(first: list[int], place: int) -> int:
    while first[place] != place:
        first[place] = first[first[place]]
        place = first[place]
    return place


def _join(first: list[int], one: int, other: int) -> None:
    low, high = sorted((_root(first, one), _root(first, other)))
    first[high] = low
