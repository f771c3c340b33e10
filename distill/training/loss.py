"""The soft-target loss: how far the student's softened distribution is from the teacher's, in nats.

Hinton, Vinyals, Dean (2015), "Distilling the Knowledge in a Neural Network"; the factor T^2 keeps the
size of the gradients independent of the temperature T.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

FLOOR = 1e-6  # probabilities below this were rounded away by the teacher's API; their logarithm means nothing
NOISE_LIMIT = 0.05
TEMPERATURES = (2.0, 1.5, 1.0)


def distillation_loss(
    student_logits: Tensor, teacher_probabilities: Tensor, temperature: float, weights: Tensor
) -> Tensor:
    """Weighted mean of T^2 KL(p_T || q_T) over rows [batch], with p_T = softmax(log p / T)."""
    log_p = torch.log_softmax(teacher_probabilities.clamp(min=FLOOR).log() / temperature, dim=-1)
    log_q = torch.log_softmax(student_logits / temperature, dim=-1)
    divergence = (log_p.exp() * (log_p - log_q)).sum(dim=-1)
    return temperature**2 * (weights * divergence).sum() / weights.sum()


def clamp_noise_share(probabilities: NDArray[np.float32], temperature: float, floor: float = FLOOR) -> float:
    """Mean share of the softened target that comes from values clamped up to `floor`, 0 to 1.

    Softening lifts them: with 77 classes, a floor of 1e-4 and T = 2 a confident answer is 43 % noise.
    """
    softened = np.maximum(probabilities.astype(np.float64), floor) ** (1.0 / temperature)
    clamped = np.where(probabilities < floor, softened, 0.0)
    return float((clamped.sum(axis=1) / softened.sum(axis=1)).mean())


def choose_temperature(
    probabilities: NDArray[np.float32],
    temperatures: Sequence[float] = TEMPERATURES,
    noise_limit: float = NOISE_LIMIT,
) -> float:
    """The first temperature whose clamp noise is within the limit; the last one if none is."""
    for temperature in temperatures:
        if clamp_noise_share(probabilities, temperature) <= noise_limit:
            return temperature
    return temperatures[-1]
