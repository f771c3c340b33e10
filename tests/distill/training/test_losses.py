"""What a row costs a student, by what the teacher said of it."""

import numpy as np
import pytest
import torch
from torch import Tensor

from distill.training.losses import (
    Said,
    Targets,
    Terms,
    choose_temperature,
    clamp_noise_share,
    feature_losses,
    incumbent_loss,
    labels_loss,
    listed_loss,
    noisy,
    row_losses,
    soft_loss,
)

P = torch.tensor([[0.7, 0.2, 0.1]])
Q_LOGITS = torch.tensor([[0.5, 0.3, 0.2]]).log()


def divergence(p: list[float], q: list[float]) -> float:
    """KL(p || q) in nats by hand."""
    return float(sum(a * np.log(a / b) for a, b in zip(p, q, strict=True) if a))


def test_at_temperature_one_it_is_the_divergence_in_nats() -> None:
    """KL(p || q) of a worked example."""
    assert soft_loss(Q_LOGITS, P, 1.0).item() == pytest.approx(0.08512282595722175, abs=1e-6)


@pytest.mark.parametrize("temperature", [1.0, 1.5, 2.0, 4.0])
def test_a_student_with_the_teachers_answers_has_no_loss(temperature: float) -> None:
    """Logits that are the teacher's log probabilities, shifted by any constant, cost nothing."""
    assert soft_loss(P.log() + 3.0, P, temperature).item() == pytest.approx(0.0, abs=1e-6)


def test_softening_is_scaled_back_by_the_square_of_the_temperature() -> None:
    """The loss at T = 2 is four times the divergence of the softened distributions."""
    p, q = (np.sqrt([0.7, 0.2, 0.1]), np.sqrt([0.5, 0.3, 0.2]))
    p, q = p / p.sum(), q / q.sum()
    assert soft_loss(Q_LOGITS, P, 2.0).item() == pytest.approx(4 * divergence(p, q), abs=1e-6)


def test_a_probability_of_zero_gives_a_finite_loss_and_gradient() -> None:
    """Teachers round; a zero is clamped instead of becoming an infinite logarithm."""
    logits = torch.zeros(1, 3, requires_grad=True)
    soft_loss(logits, torch.tensor([[1.0, 0.0, 0.0]]), 2.0).sum().backward()
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


def test_what_is_not_listed_is_one_outcome() -> None:
    """Two of four classes listed with 0.8 together: the other two share 0.2, however they divide it."""
    probabilities, other = torch.tensor([[0.75, 0.25, 0.0, 0.0]]), torch.tensor([0.2])
    student = torch.tensor([[0.5, 0.2, 0.2, 0.1]]).log()
    elsewhere = torch.tensor([[0.5, 0.2, 0.05, 0.25]]).log()
    expected = divergence([0.6, 0.2, 0.2], [0.5, 0.2, 0.3])
    for logits in (student, elsewhere):
        assert listed_loss(logits, probabilities, other, 1.0).item() == pytest.approx(expected, abs=1e-5)


def test_a_full_list_is_the_soft_loss() -> None:
    """Without anything else, and at any temperature."""
    for temperature in (1.0, 2.0):
        listed = listed_loss(Q_LOGITS, P, torch.zeros(1), temperature)
        assert listed.item() == pytest.approx(soft_loss(Q_LOGITS, P, temperature).item(), abs=2e-2)


def test_a_list_has_finite_gradients() -> None:
    """Also for a student that gives the unlisted classes nothing, and for a teacher that gives the listed all."""
    logits = torch.tensor([[40.0, 0.0, -40.0], [0.0, 0.0, 0.0]], requires_grad=True)
    probabilities = torch.tensor([[1.0, 0.0, 0.0], [0.5, 0.3, 0.2]])
    listed_loss(logits, probabilities, torch.tensor([0.3, 0.0]), 2.0).sum().backward()
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


def test_a_named_class_is_as_sure_as_the_teacher_is_of_itself() -> None:
    """With noise 0.1 among three classes: 0.9, and 0.05 for each other; shares of votes stay."""
    answers = torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.75, 0.25]])
    expected = torch.tensor([[0.05, 0.9, 0.05], [0.0, 0.75, 0.25]])
    assert torch.allclose(noisy(answers, 0.1), expected)


def test_labels_are_judged_each_for_itself() -> None:
    """The sum of two divergences of one label each; nothing where the student says the same."""
    teacher, student = torch.tensor([[0.9, 0.2]]), torch.tensor([[0.6, 0.5]])
    expected = divergence([0.9, 0.1], [0.6, 0.4]) + divergence([0.2, 0.8], [0.5, 0.5])
    assert labels_loss(torch.logit(student), teacher, 1.0).item() == pytest.approx(expected, abs=1e-5)
    assert labels_loss(torch.logit(teacher), teacher, 2.0).item() == pytest.approx(0.0, abs=1e-5)


def test_the_incumbent_counts_where_it_was_right() -> None:
    """Not where it said another class than the teacher, nor where it said nothing."""
    incumbent = torch.tensor([[0.6, 0.3, 0.1], [0.1, 0.8, 0.1], [0.0, 0.0, 0.0]])
    losses = incumbent_loss(Q_LOGITS.expand(3, 3), incumbent, P.expand(3, 3))
    assert losses.tolist() == pytest.approx(
        [divergence([0.6, 0.3, 0.1], [0.5, 0.3, 0.2]), 0.0, 0.0], abs=1e-5
    )


def test_embeddings_are_compared_by_direction() -> None:
    """Twice as long costs nothing; a row turned by a right angle costs 1, and its relations to the others."""
    teacher = torch.eye(3)
    assert feature_losses(2 * teacher, teacher).tolist() == pytest.approx([0.0, 0.0, 0.0], abs=1e-6)
    turned = teacher[[1, 1, 2]]
    # the first row's cosine to the second is 1 and not 0, so both have a relation wrong, of three
    assert feature_losses(turned, teacher).tolist() == pytest.approx([1 + 0.5 / 3, 0.5 / 3, 0.0], abs=1e-6)


def mixed() -> tuple[Tensor, Targets]:
    logits = Q_LOGITS.repeat(4, 1)
    probabilities = torch.tensor([[0.7, 0.2, 0.1], [0.8, 0.2, 0.0], [0.0, 1.0, 0.0], [0.9, 0.1, 0.5]])
    said = torch.tensor([Said.DISTRIBUTION, Said.LISTED, Said.CLASS, Said.LABELS], dtype=torch.int8)
    return logits, Targets(said, probabilities, torch.tensor([0.0, 0.2, 0.0, 0.0]))


def test_each_row_of_a_batch_has_the_loss_of_its_kind() -> None:
    """All four kinds in one batch cost what each costs alone."""
    logits, targets = mixed()
    terms = Terms(temperature=1.5, teacher_noise=0.1)
    p, other = targets.probabilities, targets.other
    expected = [
        soft_loss(logits[:1], p[:1], 1.5),
        listed_loss(logits[1:2], p[1:2], other[1:2], 1.5),
        soft_loss(logits[2:3], noisy(p[2:3], 0.1), 1.0),
        labels_loss(logits[3:], p[3:], 1.5),
    ]
    assert torch.allclose(row_losses(logits, targets, terms), torch.cat(expected), atol=1e-6)


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
    """Full distributions keep T = 2; one-hot answers over many classes end at 1, and so do no answers."""
    full = np.full((10, 4), 0.25, dtype=np.float32)
    one_hot = np.eye(2000, dtype=np.float32)[:50]
    assert choose_temperature(full) == 2.0
    assert choose_temperature(one_hot) == 1.0
    assert choose_temperature(full[:0]) == 1.0
