"""Fixed windows against a fixed reference: two-sample chi-square, Kolmogorov-Smirnov, PSI, for 0/1 losses."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import chdtrc, kolmogorov, rel_entr

from benchmarks.detectors.kernel import Codes, Floats, Ints

Rule = Callable[
    [Floats, int, Floats, int], Floats
]  # disagreements by window, its size, reference's, its size


@dataclass(frozen=True, slots=True)
class WindowTest:
    """Alarms at the end of each window whose statistic exceeds a threshold."""

    name: str
    window: int
    statistic: Rule
    default: float  # threshold of the statistic, larger is further

    def statistics(self, streams: Codes, reference: Floats, pairs: int) -> Floats:
        """[streams, windows]; `reference` is how many of each stream's `pairs` disagreed."""
        whole = streams.shape[1] // self.window * self.window
        wrong = streams[:, :whole].reshape(len(streams), -1, self.window).sum(axis=2, dtype=np.int64)
        return self.statistic(wrong.astype(np.float64), self.window, reference[:, None], pairs)


def first_steps(statistics: Floats, threshold: float, window: int) -> Ints:
    """By stream the step at which the first window above the threshold ends; 0 for none."""
    hits: npt.NDArray[np.bool_] = statistics > threshold
    return np.where(hits.any(axis=1), (hits.argmax(axis=1) + 1) * window, 0).astype(np.int64)


def chi_square(wrong: Floats, size: int, ref_wrong: Floats, ref_size: int) -> Floats:
    """-log p of the two-sample test, one degree of freedom, without continuity correction."""
    pooled = (wrong + ref_wrong) / (size + ref_size)
    z2 = (wrong / size - ref_wrong / ref_size) ** 2 / (pooled * (1 - pooled) * (1 / size + 1 / ref_size))
    return _minus_log(chdtrc(1, z2))


def kolmogorov_smirnov(wrong: Floats, size: int, ref_wrong: Floats, ref_size: int) -> Floats:
    """-log p by the asymptotic distribution, which is conservative for two values."""
    distance = np.abs(wrong / size - ref_wrong / ref_size)
    return _minus_log(kolmogorov(distance * np.sqrt(size * ref_size / (size + ref_size))))


def psi(wrong: Floats, size: int, ref_wrong: Floats, ref_size: int) -> Floats:
    """Population stability index over the two values; an empty one counts as half an input."""
    p = np.clip(wrong, 0.5, size - 0.5) / size
    q = np.broadcast_to(ref_wrong / ref_size, p.shape)
    found: Floats = rel_entr(p, q) + rel_entr(q, p) + rel_entr(1 - p, 1 - q) + rel_entr(1 - q, 1 - p)
    return found


def _minus_log(p: Floats) -> Floats:
    found: Floats = -np.log(np.maximum(p, 1e-300))
    return found


TESTS = tuple(
    WindowTest(f"{name}, window {window:,}", window, rule, default)
    for window in (100, 1000)
    for name, rule, default in (
        ("chi-square p < 0.05", chi_square, -float(np.log(0.05))),
        ("KS p < 0.05", kolmogorov_smirnov, -float(np.log(0.05))),
        ("PSI > 0.1", psi, 0.1),
    )
)
