"""Which regions of live traffic the training rows do not cover: the student's scope, before it is trained.

Where it is served, the spots of ledger.spots go on from here: the monitor measures them input by input.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from distill.curation.live_match import Cells
from distill.curation.rows import Row
from ledger.slices import OVERALL

LEAST_LIVE = 0.005  # of live traffic: a smaller region is not told, and needs no number of rows
LEAST_ROWS = 10  # of training in a region, and ...
LEAST_OF_LIVE = 0.2  # ... of its live share: what is short of it, no weight within its limits makes up for


@dataclass(frozen=True, slots=True)
class Region:
    """A slice, or one cluster of it."""

    name: str  # "area=mars", or "area=mars/7"
    live_share: float
    train_rows: int
    train_share: float  # of the weight

    @property
    def is_covered(self) -> bool:
        is_small = self.live_share < LEAST_LIVE
        enough = is_small or self.train_rows >= LEAST_ROWS
        return enough and self.train_share >= LEAST_OF_LIVE * self.live_share


@dataclass(frozen=True, slots=True)
class CoverageReport:
    """Regions of live traffic, the largest first; `covered_share` is the least over the rules."""

    slices: tuple[Region, ...]
    clusters: tuple[Region, ...]
    covered_share: float

    @property
    def out_of_scope(self) -> tuple[str, ...]:
        """Slices that the student did not learn."""
        return tuple(region.name for region in self.slices if not region.is_covered)

    @property
    def sentence(self) -> str:
        missed = [region for region in self.slices if not region.is_covered]
        if not missed:
            return (
                f"training covers every slice, and {self.covered_share:.1%} of live traffic region by region"
            )
        names = ", ".join(
            f"{one.name} ({one.live_share:.1%} of traffic, {one.train_rows} rows)" for one in missed
        )
        return (
            f"training covers {self.covered_share:.1%} of live traffic; not these slices: {names}."
            " They stay with the teacher; record more of them, or import examples, to include them"
        )

    def scope(self) -> dict[str, Any]:
        """For the manifest: what is out of the student's scope."""
        missed = [region for region in self.clusters if not region.is_covered]
        return {
            "covered_share": round(self.covered_share, 6),
            "out_of_scope_slices": list(self.out_of_scope),
            "out_of_scope_regions": [
                {"region": one.name, "live_share": round(one.live_share, 6), "train_rows": one.train_rows}
                for one in missed
            ],
        }


def audit(pool: Sequence[Row], cells: Cells, train: Sequence[Row]) -> CoverageReport:
    """`cells` of the pool, in its order. Without live traffic the whole pool stands for it."""
    live = np.array([row.live for row in pool])
    if live.sum() <= 0:
        live = np.array([row.repeats / row.inclusion for row in pool])
    weights = {row.digest: row.weight for row in train}
    weight = np.array([weights.get(row.digest, 0.0) for row in pool])
    trains = np.array([row.digest in weights for row in pool], dtype=float)
    slices: dict[str, Region] = {}
    clusters: dict[str, Region] = {}
    covered = 1.0
    for code, names in zip(cells.codes, cells.names, strict=True):
        of_rule = _regions(code, names, live, weight, trains)
        clusters |= {region.name: region for region in of_rule}
        covered = min(covered, sum(region.live_share for region in of_rule if region.is_covered))
        parents, parent = np.unique([name.rpartition("/")[0] for name in names], return_inverse=True)
        whole = _regions(parent.reshape(-1)[code], parents.tolist(), live, weight, trains)
        slices |= {region.name: region for region in whole if region.name != OVERALL}
    return CoverageReport(_large(slices), _large(clusters), min(1.0, covered))


def _regions(
    code: np.ndarray, names: Sequence[str], live: np.ndarray, weight: np.ndarray, trains: np.ndarray
) -> list[Region]:
    sums = [np.bincount(code, one, len(names)) for one in (live, weight, trains)]
    lives, weights, rows = (one.tolist() for one in sums)
    all_live, all_weight = max(1e-12, float(live.sum())), max(1e-12, float(weight.sum()))
    return [
        Region(name, lives[place] / all_live, round(rows[place]), weights[place] / all_weight)
        for place, name in enumerate(names)
    ]


def _large(regions: dict[str, Region]) -> tuple[Region, ...]:
    kept = [region for region in regions.values() if region.live_share >= LEAST_LIVE]
    return tuple(sorted(kept, key=lambda region: (-region.live_share, region.name)))
