"""One temperature for a student's logits, fitted on rows that neither trained it nor chose it.

Guo et al. (2017), "On Calibration of Modern Neural Networks". The targets are the teacher's answers, soft or
hard: the confidence then means "how often does the teacher agree".
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

MINIMUM_ROWS = 200  # of one parameter, the standard error of log T is then about 0.1
_LOG_BETA_BOUND = 4.0  # T between 0.018 and 55
_NO_LOSS = 1e-9  # nats; below this every row is answered with certainty and rightly

FloatMatrix = NDArray[np.floating]


class CalibrationOutcome(StrEnum):
    """Why the temperature is what it is."""

    FITTED = "fitted"
    TOO_FEW_ROWS = "too_few_rows"  # T stays 1
    NO_OPTIMUM = "no_optimum"  # the likelihood grows up to the bound (all right, or all wrong): T stays 1


@dataclass(frozen=True, slots=True)
class Calibration:
    """Divide logits by `temperature`; `nll_*` are mean nats a row on the calibration rows."""

    temperature: float
    outcome: CalibrationOutcome
    rows: int
    nll_before: float
    nll_after: float


def one_hot(classes: NDArray[np.integer], count: int) -> NDArray[np.float64]:
    """Hard labels as targets [n, count]."""
    targets: NDArray[np.float64] = np.eye(count)[classes]
    return targets


def negative_log_likelihood(logits: FloatMatrix, targets: FloatMatrix, temperature: float = 1.0) -> float:
    """Mean cross-entropy in nats of target probabilities [n, classes] under softmax(logits / temperature)."""
    log_probabilities = log_softmax(np.asarray(logits, dtype=np.float64) / temperature, axis=1)
    return float(-(targets * log_probabilities).sum(axis=1).mean())


def fit_temperature(
    logits: FloatMatrix, targets: FloatMatrix, minimum_rows: int = MINIMUM_ROWS
) -> Calibration:
    """The temperature that minimises the likelihood loss of `targets`, or 1 with the reason."""
    rows = len(logits)
    before = negative_log_likelihood(logits, targets) if rows else float("nan")
    if rows < max(1, minimum_rows):
        return Calibration(1.0, CalibrationOutcome.TOO_FEW_ROWS, rows, before, before)
    # the loss is convex in beta = 1/T, so unimodal in log beta: one bounded search finds the minimum
    best = minimize_scalar(
        lambda log_beta: negative_log_likelihood(logits, targets, float(np.exp(-log_beta))),
        bounds=(-_LOG_BETA_BOUND, _LOG_BETA_BOUND),
        method="bounded",
        options={"xatol": 1e-9},
    )
    if abs(best.x) > _LOG_BETA_BOUND - 1e-3 or best.fun < _NO_LOSS:
        return Calibration(1.0, CalibrationOutcome.NO_OPTIMUM, rows, before, before)
    return Calibration(float(np.exp(-best.x)), CalibrationOutcome.FITTED, rows, before, float(best.fun))
