"""How much each training row counts: by how often it came, by how live traffic is, and by what the incumbent gets
wrong. What judges keeps its natural weight: it has to say what traffic says."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from distill.curation.rows import ANONYMOUS, Row, Source
from ledger.configuration import CurationSection
from ledger.observation import Observation
from monitor.divergence import jensen_shannon_bits, normalised

LEAST_WEIGHT, MOST_WEIGHT = 0.1, 5.0  # of a row, of which the mean is 1
LEAST_EFFECTIVE = 0.3  # of the rows: below, weights do what rows should
EQUAL_SHARES = 2.0  # where callers are few, each may have so many times an equal share
ROUNDS = 20

Vector = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class WeightSummary:
    """Of the final weights; `effective` is Kish's number of rows, (sum w)^2 / sum w^2."""

    rows: int
    effective: float
    least: float
    most: float
    replay_share: float
    largest_principal_share: float | None  # None where no row says whose it is

    @property
    def wants_rows(self) -> bool:
        """So few rows carry the weight that more of the rare ones are needed, not more weight."""
        return self.rows > 0 and self.effective < LEAST_EFFECTIVE * self.rows


def failure_factor(teacher: Observation, incumbent: Observation | None, settings: CurationSection) -> float:
    """From 1 where the incumbent says what the teacher says, by their Jensen-Shannon divergence in bits.

    An incumbent that gave no answer to the row counts as certainly wrong; None: there is none, or it was not asked.
    """
    if incumbent is None or teacher.probabilities is None:
        return 1.0
    divergence = 1.0
    if incumbent.probabilities is not None:
        divergence = jensen_shannon_bits(
            normalised(teacher.probabilities), normalised(incumbent.probabilities)
        )
    return min(settings.failure_limit, 1 + settings.failure_slope * divergence)


def weighed(
    rows: Sequence[Row],
    factors: Vector,
    settings: CurationSection,
    incumbent: Mapping[str, Observation],
) -> tuple[tuple[Row, ...], WeightSummary]:
    """Training rows with their final weights, of mean 1. `factors` [rows] match them to live traffic."""
    if not rows:
        return (), WeightSummary(0, 0.0, 0.0, 0.0, 0.0, None)
    failures = [failure_factor(row.teacher, incumbent.get(row.digest), settings) for row in rows]
    weights = np.array([row.natural_weight for row in rows]) * factors * np.array(failures)
    replay = np.array([row.source is Source.REPLAY for row in rows])
    weights = _to_mean_one(_clipped(_with_replay(weights, replay, settings.replay_share)))
    weights = _to_mean_one(within_shares(weights, rows, settings.principal_share))
    found = tuple(
        replace(row, emphasis=weight / row.natural_weight)
        for row, weight in zip(rows, weights.tolist(), strict=True)
    )
    return found, _summary(weights, replay, rows)


def within_shares(weights: Vector, rows: Sequence[Row], share: float) -> Vector:
    """Weights of which no caller's rows have more than its share, as long as there are callers enough for that.

    A row of several callers is nobody's own. Those who do not say who they are count as one, and where nobody does,
    nothing is changed.
    """
    owner = np.array([row.principals[0] if len(row.principals) == 1 else ANONYMOUS for row in rows])
    owners, code = np.unique(owner, return_inverse=True)
    if set(owners.tolist()) <= {ANONYMOUS}:
        return weights
    limit = max(share, EQUAL_SHARES / len(owners))
    alone = np.array([len(row.principals) == 1 for row in rows])
    capped = weights.copy()
    for _ in range(ROUNDS):
        held = np.bincount(code, np.where(alone, capped, 0.0), len(owners)) / capped.sum()
        if not (held > limit * 1.001).any():
            break
        shrink = np.minimum(1.0, limit / np.maximum(held, 1e-12))
        capped = np.where(alone, capped * shrink[code], capped)
    return capped


def _with_replay(weights: Vector, replay: NDArray[np.bool_], share: float) -> Vector:
    """Replayed rows scaled to their share of the weight, which they never exceed by being many."""
    ours, theirs = weights[~replay].sum(), weights[replay].sum()
    if theirs <= 0 or ours <= 0 or share >= 1:
        return weights
    return np.where(replay, weights * (share / (1 - share) * ours / theirs), weights)


def _clipped(weights: Vector) -> Vector:
    """Within the limits when the mean is 1; clipping moves the mean, hence a few rounds."""
    for _ in range(ROUNDS):
        weights = np.clip(_to_mean_one(weights), LEAST_WEIGHT, MOST_WEIGHT)
    return weights


def _to_mean_one(weights: Vector) -> Vector:
    scaled: Vector = weights / weights.mean()
    return scaled


def _summary(weights: Vector, replay: NDArray[np.bool_], rows: Sequence[Row]) -> WeightSummary:
    theirs: dict[str, float] = {}
    for weight, row in zip(weights.tolist(), rows, strict=True):
        if len(row.principals) == 1 and row.principals[0] != ANONYMOUS:
            theirs[row.principals[0]] = theirs.get(row.principals[0], 0.0) + weight
    return WeightSummary(
        rows=len(rows),
        effective=float(weights.sum() ** 2 / (weights**2).sum()),
        least=float(weights.min()),
        most=float(weights.max()),
        replay_share=float(weights[replay].sum() / weights.sum()),
        largest_principal_share=max(theirs.values()) / float(weights.sum()) if theirs else None,
    )
