"""Beginning where the incumbent ended: shrunk towards the fresh start, and perturbed.

A network that goes on from old weights fits as well and generalises worse than a fresh one; shrinking and perturbing
them first mends that (Ash, Adams 2020, "On Warm-Starting Neural Network Training"). Both starts are trained, and the
one with the better likelihood on the dev rows is kept.
"""

import copy
import hashlib
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from distill.training.checkpoints import learned
from distill.training.train import Fitted, StopReason
from ledger.artifacts import TOKENIZER_FILE, WEIGHTS_FILE

SHRINK = 0.7  # share of the old weights; the rest is the fresh start
PERTURB = 0.01  # of the head's weights, standard deviation of what is added
RATE_SHARE = 0.5  # of the learning rate: the weights are near already


class Start(StrEnum):
    WARM = "warm"
    COLD = "cold"


class NotWarm(StrEnum):
    """Why a student cannot start from the incumbent."""

    NO_WEIGHTS = "no_weights"  # the artifact keeps none, or none that can be read
    OTHER_TOKENIZER = "other_tokenizer"
    OTHER_SHAPE = "other_shape"


@dataclass(frozen=True, slots=True)
class Compared:
    """Both starts on the dev rows, and which one was kept."""

    kept: Start
    cold_nll: float
    warm_nll: float


def warmed(fresh: nn.Module, artifact: Path, tokenizer: Path, seed: int) -> nn.Module | NotWarm:
    """A copy of the fresh student that begins near the incumbent of the `artifact` folder."""
    if not (artifact / WEIGHTS_FILE).is_file():
        return NotWarm.NO_WEIGHTS
    if _digest(artifact / TOKENIZER_FILE) != _digest(tokenizer):
        return NotWarm.OTHER_TOKENIZER
    try:
        old = load_file(artifact / WEIGHTS_FILE)
    except (OSError, SafetensorError):
        return NotWarm.NO_WEIGHTS
    new = learned(fresh)
    if {name: one.shape for name, one in old.items()} != {name: one.shape for name, one in new.items()}:
        return NotWarm.OTHER_SHAPE
    chance = torch.Generator().manual_seed(seed)
    for name, weight in new.items():
        if weight.is_floating_point():
            weight.lerp_(old[name].to(weight.dtype), SHRINK)
            if name.startswith("head."):
                weight += PERTURB * torch.randn(weight.shape, generator=chance)
    student = copy.deepcopy(fresh)
    student.load_state_dict(new, strict=False)
    return student


def better(cold: Fitted, warm: Fitted) -> tuple[Fitted, Compared]:
    """The start with the better dev likelihood, the cold one on a tie or where the warm one diverged."""
    nll = {Start.COLD: _nll(cold), Start.WARM: _nll(warm)}
    kept = Start.WARM if nll[Start.WARM] < nll[Start.COLD] else Start.COLD
    return (warm if kept is Start.WARM else cold), Compared(kept, nll[Start.COLD], nll[Start.WARM])


def _nll(fitted: Fitted) -> float:
    if fitted.best is None or fitted.stop is StopReason.DIVERGED:
        return float("inf")
    return fitted.best.dev_nll


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else str(path)
