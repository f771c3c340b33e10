"""Training rows that mean the same as another one, by an encoder's vectors, and teach nothing beside it.

Abbas et al. (2023), "SemDeDup: Data-efficient learning at web-scale through semantic deduplication". Never across
the teacher's answers, whose boundary such pairs draw, and never below what a slice needs.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np

from distill.curation.embedded import Embedded, Matrix, clusters
from distill.curation.rows import Row

LEAST_CLUSTERS, ROWS_A_CLUSTER = 8, 500


def semantic_duplicates(
    rows: Sequence[Row], space: Embedded, cosine: float, quota: int, seed: int = 0
) -> frozenset[str]:
    """Digests of rows that can go. `quota` rows of each slice stay, where it has so many."""
    if not space.is_semantic or not rows:
        return frozenset()
    vectors = space.of(rows)
    remaining = Counter(name for row in rows for name in row.slices)
    gone: set[str] = set()
    for places in _alike(rows, vectors, seed):
        for place in _doubles(vectors[places], cosine):
            row = rows[places[place]]
            if all(remaining[name] > quota for name in row.slices):
                gone.add(row.digest)
                remaining.subtract(row.slices)
    return frozenset(gone)


def _alike(rows: Sequence[Row], vectors: Matrix, seed: int) -> list[list[int]]:
    """Places of the rows of each cluster and answer."""
    count = max(LEAST_CLUSTERS, len(rows) // ROWS_A_CLUSTER)
    found: dict[tuple[int, int], list[int]] = defaultdict(list)
    for place, cluster in enumerate(clusters(vectors, count, seed).tolist()):
        found[(cluster, rows[place].teacher.top)].append(place)
    return list(found.values())


def _doubles(vectors: Matrix, cosine: float) -> list[int]:
    """Places near to one that is kept. Those least like the centre are kept first: they say most."""
    centre = vectors.mean(axis=0)
    kept = np.empty_like(vectors)
    count = 0
    doubles = []
    for place in np.argsort(vectors @ centre, kind="stable").tolist():
        if count and float((kept[:count] @ vectors[place]).max()) >= cosine:
            doubles.append(place)
        else:
            kept[count] = vectors[place]
            count += 1
    return doubles
