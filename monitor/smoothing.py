"""Smooth calibration error (Blasiok and Nakkiran 2023) from two grids that merge by adding.

Each answer is shared out over the two grid points beside its confidence. Bins have edges that move the error when a
confidence crosses them; this has none. relplot 1.0.3 gives the same numbers from the same grid.
"""

from functools import lru_cache

import numpy as np

from monitor.histograms import Floats, Whole

INTERVALS = 256  # of a grid over [0, 1]
POINTS = INTERVALS + 1
MESH = 200  # points at which the smoothed residual is looked at
HALVINGS = 10  # of the search for the width at which error and width meet
LEAST_WIDTH = 2 / INTERVALS  # a narrower kernel would fall between grid points
_NEVER_ZERO = 1e-4  # added to the density, in answers


def grid_place(confidence: Whole) -> Whole:
    """The lower of the two grid points of a fixed-point confidence."""
    return (confidence >> 24) - (confidence >> 32)


def grid_shares(confidence: Whole, right: Whole) -> tuple[Whole, Whole, Whole, Whole]:
    """What an answer adds, in units of 1 / COARSE: density below and above, residual below and above.

    The residual is the confidence minus 1 where the answer was right (`right` is 1) and minus 0 where not.
    """
    above = confidence - (grid_place(confidence) << 24)  # of 2**24
    residual = confidence - (right << 32)
    residual_above = residual * above >> 36
    return (1 << 20) - (above >> 4), above >> 4, (residual >> 12) - residual_above, residual_above


def smooth_calibration_error(residual: Floats, density: Floats) -> tuple[float, float]:
    """The error and the width of the kernel that gave it; (nan, nan) without answers.

    The width is the smallest found at which the error is not above it, and at least LEAST_WIDTH of a grid as
    coarse as the one that is kept: an error below that reads a little lower than it is.
    """
    if density.sum() <= 0:
        return float("nan"), float("nan")
    least = max(0.001, 2 / (len(density) - 1))
    width = 1.0
    if smoothed_error(residual, density, width) <= width:
        narrow = 0.0
        for _ in range(HALVINGS):
            middle = (width + narrow) / 2
            if middle < least or middle < smoothed_error(residual, density, middle):
                narrow = middle
            else:
                width = middle
    return smoothed_error(residual, density, width), width


def smoothed_error(residual: Floats, density: Floats, width: float) -> float:
    """Mean absolute residual after smoothing with a Gaussian of this width, reflected at 0 and 1."""
    kernel = _kernel(len(density), width)
    smoothed = kernel @ density + _NEVER_ZERO
    return float(np.abs(kernel @ residual).sum() / smoothed.sum())


@lru_cache(maxsize=32)  # half a megabyte each; searches share their first widths
def _kernel(points: int, width: float) -> Floats:
    """[MESH, points]: smoothing on the grid, then linear interpolation to the mesh."""
    grid = np.linspace(0, 1, points)
    distance = grid[:, None] - grid[None, :]
    mirrored = grid[:, None] + grid[None, :]
    kernel = _bell(distance, width)
    low, high = _bell(mirrored, width), _bell(2 - mirrored, width)
    low[:, 0], high[:, -1] = 0.0, 0.0  # the points on the edges have no mirror image of their own
    smooth = kernel + low + high
    mesh = np.linspace(0, 1, MESH) * (points - 1)
    below = mesh.astype(np.int64).clip(0, points - 2)
    above = (mesh - below)[:, None]
    found: Floats = smooth[below] * (1 - above) + smooth[below + 1] * above
    return found


def _bell(distance: Floats, width: float) -> Floats:
    """Zero beyond 1/2, as far as a kernel on [0, 1] around its middle reaches."""
    bell: Floats = np.exp(-(distance**2) / (2 * width**2)) / (np.sqrt(2 * np.pi) * width)
    return np.where(np.abs(distance) <= 0.5 + 1e-12, bell, 0.0)
