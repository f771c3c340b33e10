"""The training loop on rows whose answer two words tell."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from distill.training.course import Progress
from distill.training.predict import predict_logits
from distill.training.settings import TrainSettings
from distill.training.static_student import StaticStudent
from distill.training.train import Fitted, StopReason, train
from distill.training.training_rows import TrainingRows
from tests.distill.encoders import VOCABULARY, build_rows

SETTINGS = TrainSettings(learning_rate=1e-2, epochs=4, batch_rows=16, threads=1)


def build_student() -> StaticStudent:
    torch.manual_seed(1)
    return StaticStudent(torch.randn(len(VOCABULARY), 8), classes=2, hidden=8)


def fit(
    student: nn.Module,
    rows: TrainingRows,
    dev: TrainingRows,
    settings: TrainSettings,
    folder: Path,
    progress: Progress | None = None,
) -> Fitted:
    fitted = train(student, rows, dev, settings, folder, progress)
    assert isinstance(fitted, Fitted)
    return fitted


def test_it_learns_what_the_teacher_answers(tmp_path: Path) -> None:
    """Unseen texts get the teacher's class, with about the teacher's confidence."""
    student, later = build_student(), build_rows(1000, 100)
    settings = replace(SETTINGS, epochs=20, patience=20)
    trained = fit(student, build_rows(0, 400), build_rows(500, 60), settings, tmp_path)
    logits = predict_logits(student, later.token_ids)
    assert (logits.argmax(axis=1) == later.teacher_probabilities.argmax(axis=1)).mean() > 0.9
    best = min(evaluation.dev_nll for evaluation in trained.history)
    assert best < trained.history[0].dev_nll
    assert best == pytest.approx(0.325, abs=0.06)  # the entropy of (0.9, 0.1)


def test_the_same_seed_and_threads_give_the_same_weights(tmp_path: Path) -> None:
    """Bit for bit, dropout and shuffling included; another seed gives others."""
    rows, dev = build_rows(0, 100), build_rows(500, 20)
    settings = [SETTINGS, SETTINGS, replace(SETTINGS, seed=1)]
    first, second, other = (
        fit(build_student(), rows, dev, one, tmp_path / str(place)).digest
        for place, one in enumerate(settings)
    )
    assert first == second
    assert first != other


def test_it_stops_when_the_dev_rows_stop_improving_and_keeps_the_best_state(tmp_path: Path) -> None:
    """Training on answers opposite to those of the dev rows only makes those worse."""
    rows, dev = build_rows(0, 64), build_rows(500, 64)
    opposite = replace(rows, teacher_probabilities=rows.teacher_probabilities[:, ::-1].copy())
    student = build_student()
    trained = fit(student, opposite, dev, replace(SETTINGS, epochs=50, patience=2), tmp_path)
    assert trained.stop is StopReason.CONVERGED
    assert trained.history[-1].step < 200
    best = min(trained.history, key=lambda evaluation: evaluation.dev_nll)
    assert best.step == trained.best_step
    logits = predict_logits(student, dev.token_ids)
    agreement = (logits.argmax(axis=1) == dev.teacher_probabilities.argmax(axis=1)).mean()
    assert agreement == pytest.approx(best.dev_fidelity)


def test_out_of_time_it_returns_what_it_has(tmp_path: Path) -> None:
    """No time at all still gives one step, one evaluation, and the reason."""
    settings = replace(SETTINGS, budget_seconds=0.0)
    trained = fit(build_student(), build_rows(0, 100), build_rows(500, 20), settings, tmp_path)
    assert trained.stop is StopReason.BUDGET
    assert [evaluation.step for evaluation in trained.history] == [1]


def test_a_loss_that_is_no_number_ends_it_with_finite_weights(tmp_path: Path) -> None:
    """Weights so large that their products overflow cannot poison the student that is returned."""
    student = build_student()
    nn.init.constant_(student.head[-1].weight, 1e38)  # type: ignore[arg-type]
    trained = fit(student, build_rows(0, 64), build_rows(500, 20), SETTINGS, tmp_path)
    assert trained.stop is StopReason.DIVERGED
    assert all(bool(torch.isfinite(weight).all()) for weight in student.state_dict().values())


def test_progress_is_told_at_every_evaluation(tmp_path: Path) -> None:
    """Twice an epoch, up to the last step."""
    told: list[tuple[int, int]] = []
    settings = replace(SETTINGS, evaluations_per_epoch=2, epochs=2, patience=100)
    fit(
        build_student(),
        build_rows(0, 64),
        build_rows(500, 20),
        settings,
        tmp_path,
        lambda step, steps, _: told.append((step, steps)),
    )
    assert told == [(2, 8), (4, 8), (6, 8), (8, 8)]


def test_a_row_without_weight_teaches_nothing(tmp_path: Path) -> None:
    """Rows of weight zero with opposite answers, as many as the others, do not disturb those."""
    rows = build_rows(0, 400)
    teacher, weights = rows.teacher_probabilities.copy(), rows.weights.copy()
    teacher[:200] = teacher[:200, ::-1]
    weights[:200] = 0.0
    student, later = build_student(), build_rows(1000, 100)
    weighed = replace(rows, teacher_probabilities=teacher, weights=weights)
    fit(student, weighed, build_rows(500, 20), replace(SETTINGS, epochs=8), tmp_path)
    logits = predict_logits(student, later.token_ids)
    assert (logits.argmax(axis=1) == later.teacher_probabilities.argmax(axis=1)).mean() > 0.8


def test_predictions_come_in_the_order_of_the_rows(tmp_path: Path) -> None:
    """Sorting by length for speed is not seen from outside."""
    student, rows = build_student(), build_rows(0, 90)
    together = predict_logits(student, rows.token_ids)
    alone = np.concatenate([predict_logits(student, [row]) for row in rows.token_ids])
    assert np.abs(together - alone).max() < 1e-5


def test_frozen_weights_stay(tmp_path: Path) -> None:
    """A table that is not to be trained is the same afterwards."""
    student = build_student()
    student.table.requires_grad_(False)
    before = student.table.weight.clone()
    fit(student, build_rows(0, 64), build_rows(500, 20), SETTINGS, tmp_path)
    assert torch.equal(student.table.weight, before)
    assert isinstance(student.head, nn.Sequential)
