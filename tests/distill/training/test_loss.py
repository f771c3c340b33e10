"""The soft-target loss and the choice of its temperature."""

import numpy as np
import pytest
import torch

from distill.training.loss import choose_temperature, clamp_noise_share, distillation_loss

P = torch.tensor([[0.7, 0.2, 0.1]])
Q_LOGITS = torch.tensor([[0.5, 0.3, 0.2]]).log()


def test_at_temperature_one_it_is_the_divergence_in_nats() -> None:
    """KL(p || q) of a worked example."""
    loss = distillation_loss(Q_LOGITS, P, 1.0, torch.ones(1))
    assert loss.item() == pytest.approx(0.08512282595722175, abs=1e-6)


@pytest.mark.parametrize("temperature", [1.0, 1.5, 2.0, 4.0])
def test_a_student_with_the_teachers_answers_has_no_loss(temperature: float) -> None:
    """Logits that are the teacher's log probabilities, shifted by any constant, cost nothing."""
    loss = distillation_loss(P.log() + 3.0, P, temperature, torch.ones(1))
    assert loss.item() == pytest.approx(0.0, abs=1e-6)


def test_softening_is_scaled_back_by_the_square_of_the_temperature() -> None:
    """The loss at T = 2 is four times the divergence of the softened distributions."""
    p, q = (np.sqrt([0.7, 0.2, 0.1]), np.sqrt([0.5, 0.3, 0.2]))
    p, q = p / p.sum(), q / q.sum()
    loss = distillation_loss(Q_LOGITS, P, 2.0, torch.ones(1))
    assert loss.item() == pytest.approx(4 * float((p * np.log(p / q)).sum()), abs=1e-6)


def test_weights_are_relative() -> None:
    """Doubling every weight changes nothing; a row of weight zero is not there."""
    logits, teacher = torch.tensor([[1.0, 0.0], [0.0, 2.0]]), torch.tensor([[0.4, 0.6], [0.9, 0.1]])
    once, twice = (distillation_loss(logits, teacher, 2.0, torch.tensor(w)) for w in ([1.0, 3.0], [2.0, 6.0]))
    alone = distillation_loss(logits[:1], teacher[:1], 2.0, torch.ones(1))
    without = distillation_loss(logits, teacher, 2.0, torch.tensor([5.0, 0.0]))
    assert once.item() == pytest.approx(twice.item())
    assert without.item() == pytest.approx(alone.item())


def test_a_probability_of_zero_gives_a_finite_loss_and_gradient() -> None:
    """Teachers round; a zero is clamped instead of becoming an infinite logarithm."""
    logits = torch.zeros(1, 3, requires_grad=True)
    distillation_loss(logits, torch.tensor([[1.0, 0.0, 0.0]]), 2.0, torch.ones(1)).backward()
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize(
    ("classes", "temperature", "share"),
    [(5, 2.0, 0.038), (20, 2.0, 0.160), (77, 2.0, 0.432), (77, 1.0, 0.008), (77, 4.0, 0.884)],
)
def test_noise_of_clamped_zeros(classes: int, temperature: float, share: float) -> None:
    """A certain answer among many classes, softened, is largely made of clamped zeros."""
    answer = np.zeros((1, classes), dtype=np.float32)
    answer[0, 0] = 1.0
    assert clamp_noise_share(answer, temperature, floor=1e-4) == pytest.approx(share, abs=5e-4)


def test_the_temperature_falls_until_little_of_the_target_is_noise() -> None:
    """Full distributions keep T = 2; one-hot answers over many classes end at 1."""
    full = np.full((10, 4), 0.25, dtype=np.float32)
    one_hot = np.eye(2000, dtype=np.float32)[:50]
    assert choose_temperature(full) == 2.0
    assert choose_temperature(one_hot) == 1.0
