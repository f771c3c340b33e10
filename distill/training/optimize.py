"""The optimiser of a student: which weights move how fast, and how the rate rises and falls over a run."""

import torch
from torch import nn

from distill.training.settings import TrainSettings

Optimisation = tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LambdaLR]


def optimisation(student: nn.Module, settings: TrainSettings, steps: int) -> Optimisation:
    """AdamW over what trains, and its schedule over so many steps."""
    head_rate = settings.learning_rate * settings.head_rate_multiple
    tables = {id(module.weight) for module in student.modules() if isinstance(module, nn.Embedding)}
    groups = []
    for name, weight in student.named_parameters():
        if weight.requires_grad:
            decays = weight.ndim > 1 and id(weight) not in tables
            groups.append(
                {
                    "params": [weight],
                    "lr": head_rate if ".head." in f".{name}" else settings.learning_rate,
                    "weight_decay": settings.weight_decay if decays else 0.0,
                }
            )
    # fused: one pass over a token table's gradient and moments, not a dozen
    optimizer = torch.optim.AdamW(groups, fused=True)
    warmup = max(1, round(steps * settings.warmup_share))
    return optimizer, torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / warmup, max(0.0, (steps - step) / max(1, steps - warmup)))
    )
