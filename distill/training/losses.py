"""What a student loses on each row, in nats: pure functions of logits and of what the teacher said.

Rows of all kinds stand in one batch; each gets the loss of its kind, and the weighted mean over rows is the batch's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

FLOOR = 1e-6  # probabilities below this were rounded away by the teacher's API; their logarithm means nothing
NOISE_LIMIT = 0.05
TEMPERATURES = (2.0, 1.5, 1.0)
UNKNOWN_NOISE = 0.05  # of a teacher whose agreement with itself nobody measured
RELATION_SHARE = 0.5  # of the relation-based loss beside the feature-based one


class Said(IntEnum):
    """What the teacher's answer to a row is."""

    DISTRIBUTION = 0  # a probability of every class
    LISTED = 1  # probabilities of some classes, and of everything else together
    CLASS = 2  # one class, or the shares of several answers
    LABELS = 3  # a probability of each label for itself


@dataclass(frozen=True, slots=True)
class Targets:
    """What is known of a batch of rows; `None` where nothing is, for any row."""

    said: Tensor  # Said [batch]
    probabilities: Tensor  # [batch, classes]; of LISTED those given that it is a listed class
    other: Tensor  # [batch] probability of what is not listed
    incumbent: Tensor | None = None  # its probabilities [batch, classes]; a row of zeros: unknown
    features: Tensor | None = None  # the teacher's embeddings [batch, width]


@dataclass(frozen=True, slots=True)
class Terms:
    """How the terms of the loss are weighed."""

    temperature: float = 1.0  # of probabilities: choose_temperature
    teacher_noise: float = (
        UNKNOWN_NOISE  # share of a named class's rows in which the teacher would say another
    )
    incumbent_weight: float = 0.0  # off; against negative flips
    feature_weight: float = 1.0  # where there are features


def row_losses(logits: Tensor, targets: Targets, terms: Terms) -> Tensor:
    """Nats of each row [batch] by what was said of it, and by the incumbent where it was right."""
    by_kind = {
        Said.DISTRIBUTION: lambda: soft_loss(logits, targets.probabilities, terms.temperature),
        Said.LISTED: lambda: listed_loss(logits, targets.probabilities, targets.other, terms.temperature),
        Said.CLASS: lambda: soft_loss(logits, noisy(targets.probabilities, terms.teacher_noise), 1.0),
        Said.LABELS: lambda: labels_loss(logits, targets.probabilities, terms.temperature),
    }
    losses = torch.zeros_like(targets.other)
    for kind in set(targets.said.tolist()):
        losses = losses + torch.where(targets.said == kind, by_kind[Said(kind)](), 0.0)
    if targets.incumbent is not None and terms.incumbent_weight:
        kept = incumbent_loss(logits, targets.incumbent, targets.probabilities)
        losses = losses + terms.incumbent_weight * kept
    return losses


def soft_loss(logits: Tensor, probabilities: Tensor, temperature: float) -> Tensor:
    """T^2 KL(p_T || q_T) [batch], with p_T = softmax(log p / T).

    Hinton, Vinyals, Dean (2015), "Distilling the Knowledge in a Neural Network"; the factor T^2 keeps the size of
    the gradients independent of T.
    """
    log_p = torch.log_softmax(probabilities.clamp(min=FLOOR).log() / temperature, dim=-1)
    log_q = torch.log_softmax(logits / temperature, dim=-1)
    return temperature**2 * (log_p.exp() * (log_p - log_q)).sum(dim=-1)


def listed_loss(logits: Tensor, probabilities: Tensor, other: Tensor, temperature: float) -> Tensor:
    """The soft loss [batch] over the listed classes and one more outcome, everything else.

    A class with probability 0 is not listed. Scaling the listed ones up to 1 instead would teach that the others
    are impossible (on sparse logit caches: Anshumann et al., ACL 2025).
    """
    listed = probabilities > 0
    log_q = torch.log_softmax(logits, dim=-1)
    # of a row that lists every class, what is left is nothing on both sides
    rest = torch.where(listed, -torch.inf, log_q).logsumexp(dim=-1).clamp(min=float(np.log(FLOOR)))
    outcomes = torch.cat([torch.where(listed, log_q, -1e4), rest.unsqueeze(-1)], dim=-1)
    said = torch.cat([probabilities * (1 - other).unsqueeze(-1), other.unsqueeze(-1)], dim=-1)
    softened = said.clamp(min=FLOOR).log() / temperature
    within = torch.cat([listed, torch.ones_like(listed[:, :1])], dim=-1)
    log_p = torch.log_softmax(torch.where(within, softened, -1e4), dim=-1)
    log_o = torch.log_softmax(torch.where(within, outcomes / temperature, -1e4), dim=-1)
    return temperature**2 * torch.where(within, log_p.exp() * (log_p - log_o), 0.0).sum(dim=-1)


def noisy(probabilities: Tensor, noise: float) -> Tensor:
    """A named class as the distribution of what a teacher would say who says another with probability `noise`.

    Shares of several answers are left as they are: the noise is in them.
    """
    classes = probabilities.shape[-1]
    spread = noise / max(1, classes - 1)
    certain = probabilities.amax(dim=-1, keepdim=True) == 1
    smoothed = probabilities * (1 - noise) + (1 - probabilities) * spread
    return torch.where(certain, smoothed, probabilities)


def labels_loss(logits: Tensor, probabilities: Tensor, temperature: float) -> Tensor:
    """T^2 times the divergence of each label's probability, summed over labels [batch]; logits are one a label."""
    teacher = torch.logit(probabilities, eps=FLOOR) / temperature
    student = logits / temperature
    p, log_p, log_not_p = (f(teacher) for f in (torch.sigmoid, _log_sigmoid, lambda x: _log_sigmoid(-x)))
    divergence = p * (log_p - _log_sigmoid(student)) + (1 - p) * (log_not_p - _log_sigmoid(-student))
    return temperature**2 * divergence.sum(dim=-1)


def incumbent_loss(logits: Tensor, incumbent: Tensor, teacher: Tensor) -> Tensor:
    """KL(incumbent || student) [batch] where the incumbent said the teacher's class, 0 elsewhere.

    Focal distillation against negative flips (Yan et al. 2021, "Positive-Congruent Training"), without the part
    that would also keep the incumbent's mistakes.
    """
    right = (incumbent.argmax(dim=-1) == teacher.argmax(dim=-1)) & (incumbent.sum(dim=-1) > 0)
    return torch.where(right, soft_loss(logits, incumbent, 1.0), 0.0)


def feature_losses(embedding: Tensor, features: Tensor) -> Tensor:
    """How far embeddings are from the teacher's, and their cosines among each other [batch], without a unit.

    `embedding` [batch, width] has been projected to the width of `features`. The mean over rows of the second part
    is ||S S' - T T'||^2 / batch^2 (relational distillation: Park et al. 2019).
    """
    student, teacher = (torch.nn.functional.normalize(one, dim=-1) for one in (embedding, features))
    apart = 1 - (student * teacher).sum(dim=-1)
    relations = (student @ student.T - teacher @ teacher.T).square().mean(dim=-1)
    return apart + RELATION_SHARE * relations


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
    """The first temperature whose clamp noise is within the limit; the last one if none is, or without rows."""
    for temperature in temperatures:
        if len(probabilities) and clamp_noise_share(probabilities, temperature) <= noise_limit:
            return temperature
    return temperatures[-1]


def _log_sigmoid(x: Tensor) -> Tensor:
    return torch.nn.functional.logsigmoid(x)
