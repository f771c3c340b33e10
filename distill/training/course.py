"""A training run from outside: what it learns from, what it saw on the way, and when it is over."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import TrainerState

from distill.training import checkpoints
from distill.training.settings import TrainSettings
from distill.training.training_rows import TrainingRows

Progress = Callable[[int, int, float], None]  # step, steps, nats of the dev rows


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One look at the dev rows: nats after temperature scaling, and agreement with the teacher."""

    step: int
    train_loss: float
    dev_nll: float
    dev_fidelity: float


@dataclass(frozen=True, slots=True)
class Course:
    """What is to be trained on what, for how many steps, and where it is kept."""

    train_rows: TrainingRows
    dev_rows: TrainingRows
    settings: TrainSettings
    steps: int  # of the schedule
    every: int  # steps between two evaluations
    folder: Path
    deadline: float  # of time.monotonic(); after it the next evaluation is the last


def history_of(state: TrainerState) -> list[Evaluation]:
    entries: list[dict[str, Any]] = state.log_history
    return [Evaluation(**entry) for entry in entries]


def best_of(history: Sequence[Evaluation]) -> int:
    """The step of the evaluation with the best likelihood, the first one on a tie; 0 where none is a number."""
    numbers = [one for one in history if math.isfinite(one.dev_nll)]
    return min(numbers, key=lambda one: one.dev_nll).step if numbers else 0


def has_converged(history: Sequence[Evaluation], course: Course) -> bool:
    if not history:
        return False
    return history[-1].step - best_of(history) >= course.settings.patience * course.every


def cut_of(folder: Path) -> int | None:
    """The step at which this run's time was up, if it ever was."""
    path = folder / checkpoints.CUT_FILE
    return int(checkpoints.read_json(path)["step"]) if path.is_file() else None
