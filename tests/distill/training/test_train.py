"""The training loop on rows whose answer two words tell."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from distill.training.static_student import StaticStudent
from distill.training.train import StopReason, TrainedStudent, TrainSettings, predict_logits, train
from tests.distill.encoders import VOCABULARY, build_rows

SETTINGS = TrainSettings(learning_rate=1e-2, epochs=4, batch_rows=16, threads=1)


def build_student() -> StaticStudent:
    torch.manual_seed(1)
    return StaticStudent(torch.randn(len(VOCABULARY), 8), classes=2, hidden=8)


def digest(trained: TrainedStudent) -> str:
    weights = b"".join(weight.numpy().tobytes() for weight in trained.state.values())
    return hashlib.sha256(weights).hexdigest()


def test_it_learns_what_the_teacher_answers() -> None:
    """Unseen texts get the teacher's class, with about the teacher's confidence."""
    student, later = build_student(), build_rows(1000, 100)
    settings = replace(SETTINGS, epochs=20, patience=20)
    trained = train(student, build_rows(0, 400), build_rows(500, 60), settings)
    logits = predict_logits(student, later.token_ids)
    assert (logits.argmax(axis=1) == later.teacher_probabilities.argmax(axis=1)).mean() > 0.9
    best = min(evaluation.dev_nll for evaluation in trained.history)
    assert best < trained.history[0].dev_nll
    assert best == pytest.approx(0.325, abs=0.06)  # the entropy of (0.9, 0.1)


def test_the_same_seed_and_threads_give_the_same_weights() -> None:
    """Bit for bit, dropout and shuffling included; another seed gives others."""
    rows, dev = build_rows(0, 100), build_rows(500, 20)
    settings = [SETTINGS, SETTINGS, replace(SETTINGS, seed=1)]
    first, second, other = (digest(train(build_student(), rows, dev, one)) for one in settings)
    assert first == second
    assert first != other


def test_it_stops_when_the_dev_rows_stop_improving_and_keeps_the_best_state() -> None:
    """Training on answers opposite to those of the dev rows only makes those worse."""
    rows, dev = build_rows(0, 64), build_rows(500, 64)
    opposite = replace(rows, teacher_probabilities=rows.teacher_probabilities[:, ::-1].copy())
    student = build_student()
    trained = train(student, opposite, dev, replace(SETTINGS, epochs=50, patience=2))
    assert trained.stop is StopReason.CONVERGED
    assert trained.history[-1].step < 200
    best = min(trained.history, key=lambda evaluation: evaluation.dev_nll)
    assert best.step == trained.best_step
    logits = predict_logits(student, dev.token_ids)
    agreement = (logits.argmax(axis=1) == dev.teacher_probabilities.argmax(axis=1)).mean()
    assert agreement == pytest.approx(best.dev_fidelity)


def test_out_of_time_it_returns_what_it_has() -> None:
    """No time at all still gives one step, one evaluation, and the reason."""
    settings = replace(SETTINGS, budget_seconds=0.0)
    trained = train(build_student(), build_rows(0, 100), build_rows(500, 20), settings)
    assert trained.stop is StopReason.BUDGET
    assert [evaluation.step for evaluation in trained.history] == [1]


def test_a_loss_that_is_no_number_ends_it_with_finite_weights() -> None:
    """A row whose teacher answered NaN cannot poison the student that is returned."""
    rows = build_rows(0, 64)
    rows.teacher_probabilities[:] = np.nan
    trained = train(build_student(), rows, build_rows(500, 20), SETTINGS)
    assert trained.stop is StopReason.DIVERGED
    assert all(bool(torch.isfinite(weight).all()) for weight in trained.state.values())


def test_progress_is_told_at_every_evaluation() -> None:
    """Twice an epoch, up to the last step."""
    told: list[tuple[int, int]] = []
    settings = replace(SETTINGS, evaluations_per_epoch=2, epochs=2, patience=100)
    train(
        build_student(),
        build_rows(0, 64),
        build_rows(500, 20),
        settings,
        lambda step, steps, _: told.append((step, steps)),
    )
    assert told == [(2, 8), (4, 8), (6, 8), (8, 8)]


def test_a_row_without_weight_teaches_nothing() -> None:
    """Rows of weight zero with opposite answers do not disturb the others."""
    rows = build_rows(0, 400)
    teacher, weights = rows.teacher_probabilities.copy(), rows.weights.copy()
    teacher[::2] = teacher[::2, ::-1]
    weights[::2] = 0.0  # every second row is class 0, so all of class 0 would be learned wrong
    student = build_student()
    train(
        student, replace(rows, teacher_probabilities=teacher, weights=weights), build_rows(500, 20), SETTINGS
    )
    counted = build_rows(1001, 1)
    assert predict_logits(student, counted.token_ids).argmax() == counted.teacher_probabilities.argmax()


def test_predictions_come_in_the_order_of_the_rows() -> None:
    """Sorting by length for speed is not seen from outside."""
    student, rows = build_student(), build_rows(0, 90)
    together = predict_logits(student, rows.token_ids)
    alone = np.concatenate([predict_logits(student, [row]) for row in rows.token_ids])
    assert np.abs(together - alone).max() < 1e-5


def test_frozen_weights_stay() -> None:
    """A table that is not to be trained is the same afterwards."""
    student = build_student()
    student.table.requires_grad_(False)
    before = student.table.weight.clone()
    train(student, build_rows(0, 64), build_rows(500, 20), SETTINGS)
    assert torch.equal(student.table.weight, before)
    assert isinstance(student.head, nn.Sequential)
