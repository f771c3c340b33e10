"""The map of a student's embedding that its ONNX file carries: regions by k-means over training rows, and bands of
distance from their centres. So whoever runs the file can tell where an input lies without keeping the embedding."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ledger.spots import BAND_SHARES, REGIONS

ROWS = (
    2000  # of the training rows, evenly spread: more move the centres little and cost a transformer minutes
)
LEAST_ROWS = 20  # a region
ROUNDS = 25  # of k-means; it stops changing long before

Matrix = NDArray[np.float32]


class SpotMap(nn.Module):
    """Embeddings [batch, width] in, (region, band) as int64 [batch, 2] out."""

    def __init__(self, mean: Matrix, scale: Matrix, centres: Matrix, edges: Matrix) -> None:
        """`mean` and `scale` [width]; `centres` [regions, width], scaled; `edges` of squared distances, ascending."""
        super().__init__()
        for name, array in (("mean", mean), ("scale", scale), ("centres", centres), ("edges", edges)):
            self.register_buffer(name, torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32)))

    def forward(self, pooled: Tensor) -> Tensor:
        scaled = (pooled - self.get_buffer("mean")) * self.get_buffer("scale")
        centres = self.get_buffer("centres")
        products = scaled @ centres.T
        squared = (scaled * scaled).sum(1, keepdim=True) - 2 * products + (centres * centres).sum(1)
        beyond = squared.amin(1, keepdim=True) >= self.get_buffer("edges")
        return torch.stack([squared.argmin(1), beyond.to(torch.int64).sum(1)], dim=1)


def fit_spot_map(pooled: Matrix, seed: int) -> SpotMap:
    """`pooled` [rows, width] of training rows. The same rows and seed give the same map."""
    mean, deviation = pooled.mean(axis=0), pooled.std(axis=0)
    scale = 1 / np.maximum(deviation, 1e-6)
    scaled = (pooled - mean) * scale
    regions = min(REGIONS, max(1, len(pooled) // LEAST_ROWS))
    centres = _centres(scaled, regions, np.random.default_rng(seed))
    nearest = _squared(scaled, centres).min(axis=1)
    return SpotMap(mean, scale, centres, np.quantile(nearest, BAND_SHARES))


def evenly(rows: int) -> list[int]:
    """Indices of at most ROWS of so many rows."""
    places: list[int] = np.unique(np.linspace(0, rows - 1, min(rows, ROWS)).astype(int)).tolist()
    return places


def _centres(points: Matrix, count: int, chance: np.random.Generator) -> Matrix:
    """k-means (Lloyd) from the start that k-means++ draws (Arthur, Vassilvitskii 2007); an empty one stays."""
    centres = points[chance.integers(len(points), size=1)]
    while len(centres) < count:
        far = _squared(points, centres).min(axis=1)
        total = far.sum()
        share = far / total if total > 0 else np.full(len(points), 1 / len(points))
        centres = np.concatenate([centres, points[chance.choice(len(points), size=1, p=share)]])
    for _ in range(ROUNDS):
        region = _squared(points, centres).argmin(axis=1)
        means = [points[region == place].mean(axis=0) for place in np.unique(region)]
        centres[np.unique(region)] = np.stack(means)
    return centres


def _squared(points: Matrix, centres: Matrix) -> NDArray[np.float64]:
    """Squared distances [points, centres]."""
    wide, far = points.astype(np.float64), centres.astype(np.float64)
    found: NDArray[np.float64] = (wide * wide).sum(1)[:, None] - 2 * wide @ far.T + (far * far).sum(1)
    return np.maximum(found, 0.0, out=found)
