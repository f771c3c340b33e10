"""One temperature for a student's logits."""

import numpy as np
import pytest
from scipy.special import softmax

from distill.training.calibrate import CalibrationOutcome, fit_temperature, negative_log_likelihood, one_hot

LOGITS = np.array([[2, 0.5, -1], [0.2, 1.5, 0.1], [3, -0.5, 0], [0.4, 0.6, 0.2], [1, 2.5, -2]])
CLASSES = one_hot(np.array([0, 1, 1, 2, 1]), 3)


def test_the_likelihood_loss_of_a_worked_example() -> None:
    """Mean nats of five hard labels at T = 1."""
    assert negative_log_likelihood(LOGITS, CLASSES) == pytest.approx(1.151750214183886, abs=1e-12)


def test_the_temperature_of_a_worked_example() -> None:
    """The minimum found by an independent solver."""
    calibration = fit_temperature(LOGITS, CLASSES, minimum_rows=0)
    assert calibration.outcome is CalibrationOutcome.FITTED
    assert calibration.temperature == pytest.approx(2.49531268, abs=1e-5)
    assert calibration.nll_after == pytest.approx(0.988882414911011, abs=1e-9)


def test_it_undoes_a_known_overconfidence() -> None:
    """Logits three times too large are divided by three, when the targets are the true probabilities."""
    logits = np.random.default_rng(0).normal(size=(400, 4))
    assert fit_temperature(3.0 * logits, softmax(logits, axis=1)).temperature == pytest.approx(3.0, abs=1e-4)


def test_too_few_rows_leave_the_logits_alone_and_say_so() -> None:
    """With five rows of a needed 200, the temperature is 1."""
    calibration = fit_temperature(LOGITS, CLASSES)
    assert (calibration.temperature, calibration.outcome) == (1.0, CalibrationOutcome.TOO_FEW_ROWS)
    assert calibration.rows == 5


def test_no_rows_at_all() -> None:
    """An empty calibration split is too few rows as well."""
    calibration = fit_temperature(np.zeros((0, 3)), np.zeros((0, 3)), minimum_rows=0)
    assert calibration.outcome is CalibrationOutcome.TOO_FEW_ROWS


def test_a_student_that_is_always_right_has_no_best_temperature() -> None:
    """The likelihood then grows without end as T falls; T stays 1 instead of running to the bound."""
    calibration = fit_temperature(np.array([[5.0, 0.0], [0.0, 5.0]]), np.eye(2), minimum_rows=0)
    assert (calibration.temperature, calibration.outcome) == (1.0, CalibrationOutcome.NO_OPTIMUM)
