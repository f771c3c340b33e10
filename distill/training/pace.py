"""How fast a student trains here, from a few timed steps, and which rungs of the ladder therefore fit the time."""

import copy
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from torch import nn

from distill.training.losses import row_losses
from distill.training.optimize import optimisation
from distill.training.settings import TrainSettings
from distill.training.training_rows import Batches, TrainingRows, collate, steps_per_epoch, targets_of

TIMED_STEPS = 5
LEAST_EPOCHS = 1.0  # a student that cannot read every row once is not worth its time


@dataclass(frozen=True, slots=True)
class Pace:
    """A rung's measured pace, and what its whole training would be."""

    rung: str
    seconds_per_step: float
    batch_rows: int
    steps_per_epoch: int
    epochs: int

    @property
    def rows_per_second(self) -> float:
        return self.batch_rows / self.seconds_per_step

    @property
    def epoch_seconds(self) -> float:
        return self.seconds_per_step * self.steps_per_epoch


@dataclass(frozen=True, slots=True)
class Skipped:
    """A rung that is not trained, and the figures that say why."""

    rung: str
    reason: str


@dataclass(frozen=True, slots=True)
class Allotted:
    """A rung that is trained, and the seconds that it may take."""

    rung: str
    seconds: float


def measured_pace(student: nn.Module, rows: TrainingRows, settings: TrainSettings) -> float:
    """Seconds a step, of copies: neither the student nor the random numbers of its training move."""
    torch.set_num_threads(settings.threads)
    lengths = [len(row) for row in rows.token_ids]
    batches = Batches(lengths, settings.batch_rows, 1 + TIMED_STEPS, settings.seed)
    with torch.random.fork_rng():
        trial = copy.deepcopy(student).train()
        optimizer, _ = optimisation(trial, settings, 1 + TIMED_STEPS)
        seconds = []
        for places in islice(batches, 1 + TIMED_STEPS):
            started = time.perf_counter()
            batch = collate(rows, places)
            loss = row_losses(
                trial(batch["input_ids"], batch["attention_mask"]), targets_of(batch), settings.terms
            )
            optimizer.zero_grad(set_to_none=True)
            loss.mean().backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            seconds.append(time.perf_counter() - started)
    return sum(seconds[1:]) / TIMED_STEPS  # the first step allocates


def pace_of(rung: str, student: nn.Module, rows: TrainingRows, settings: TrainSettings) -> Pace:
    steps = steps_per_epoch(len(rows), settings.batch_rows)
    seconds = measured_pace(student, rows, settings)
    return Pace(rung, seconds, min(settings.batch_rows, len(rows)), steps, settings.epochs)


def rungs_in_budget(
    paces: Sequence[Pace], seconds: float
) -> tuple[tuple[Allotted, ...], tuple[Skipped, ...]]:
    """Small to large, each with what its epochs take, as long as there is time for LEAST_EPOCHS of it.

    What a small rung does not need the larger ones may have.
    """
    left, allotted, skipped = seconds, [], []
    for pace in paces:
        least = LEAST_EPOCHS * pace.epoch_seconds
        if least > left:
            reason = (
                f"at {pace.rows_per_second:.0f} rows a second one pass over {pace.batch_rows * pace.steps_per_epoch}"
                f" rows takes {least:.0f} s, and {left:.0f} s of {seconds:.0f} are left; give the job more time or"
                " name a smaller student"
            )
            skipped.append(Skipped(pace.rung, reason))
            continue
        taken = min(left, pace.epochs * pace.epoch_seconds)
        allotted.append(Allotted(pace.rung, taken))
        left -= taken
    return tuple(allotted), tuple(skipped)
