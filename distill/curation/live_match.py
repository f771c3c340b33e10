"""Factors by which training rows come to stand for the live traffic, by slice and cluster.

Raking (Deming, Stephan 1940): the cells of one rule after the other get the share that they have live, until all do.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from distill.curation.embedded import Embedded, clusters
from distill.curation.rows import Row
from ledger.slices import OVERALL

LEAST_FACTOR, MOST_FACTOR = 0.2, 5.0
LEAST_CLUSTERS, MOST_CLUSTERS, ROWS_A_CLUSTER = 8, 50, 200
ROUNDS = 20

Vector = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Cells:
    """For each rule the cell of each row, as whole numbers [rules, rows], and the cells' names."""

    codes: NDArray[np.int64]
    names: tuple[tuple[str, ...], ...]


def cells_of(rows: Sequence[Row], rules: Sequence[str], space: Embedded, seed: int = 0) -> Cells:
    """Slice by cluster; `rules` are names of rules, and without any every row is in the overall slice."""
    count = min(MOST_CLUSTERS, max(LEAST_CLUSTERS, len(rows) // ROWS_A_CLUSTER))
    return cells_in(rows, rules, clusters(space.of(rows), count, seed).tolist())


def cells_in(rows: Sequence[Row], rules: Sequence[str], regions: Sequence[int]) -> Cells:
    """Slice by region: a cluster, or that of ledger.spots in which a trained student places the row."""
    codes, names = [], []
    for rule in rules or (OVERALL,):
        cell = [f"{slice_by(row, rule)}/{region}" for row, region in zip(rows, regions, strict=True)]
        known, code = np.unique(cell, return_inverse=True)
        codes.append(code.reshape(-1))
        names.append(tuple(known.tolist()))
    return Cells(np.array(codes, np.int64).reshape(len(codes), len(rows)), tuple(names))


def slice_by(row: Row, rule: str) -> str:
    """The row's slice by a rule; the overall one where the rule says nothing of it."""
    return next((name for name in row.slices if name.startswith(f"{rule}=")), OVERALL)


def live_factors(cells: Cells, live: Vector, weights: Vector, trains: NDArray[np.bool_]) -> Vector:
    """A factor for each row that trains, 1 for the others. `live` [rows] is how often each came lately.

    Without live traffic there is nothing to match. A factor is at most 25 times another one: what is rare in training
    and common live wants rows, not weight.
    """
    factors = np.ones(len(live))
    if live.sum() <= 0 or not trains.any():
        return factors
    for _ in range(ROUNDS):
        for code in cells.codes:
            factors *= _correction(code, live, np.where(trains, weights * factors, 0.0))
            factors[trains] /= np.average(factors[trains], weights=weights[trains])
            factors = np.clip(factors, LEAST_FACTOR, MOST_FACTOR)
    return np.where(trains, factors, 1.0)


def _correction(code: NDArray[np.int64], live: Vector, weighed: Vector) -> Vector:
    """Live share over training share of each row's cell; 1 where training has nothing of it."""
    wanted = np.bincount(code, live) / live.sum()
    had = np.bincount(code, weighed) / weighed.sum()
    found: Vector = np.divide(wanted, had, out=np.ones_like(wanted), where=had > 0)[code]
    return np.clip(found, LEAST_FACTOR, MOST_FACTOR)
