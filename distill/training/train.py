"""The training loop: one student, the teacher's soft answers, early stopping on held-out likelihood.

Deterministic on the processor for one seed and one thread count (another count adds in another order).
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from distill.training.calibrate import fit_temperature
from distill.training.encode import TokenIds, padded
from distill.training.loss import distillation_loss
from distill.training.pooled_student import PooledStudent

Progress = Callable[[int, int, float], None]  # step, steps, nats of the dev rows
Batch = tuple[Tensor, Tensor, Tensor, Tensor]

_POOL_BATCHES = 8  # rows are sorted by length within this many batches: little padding, and still mixed
_PREDICTION_BATCH = 64


class StopReason(StrEnum):
    """Why training ended; the state is the best one seen, whatever the reason."""

    COMPLETED = "completed"  # every epoch was run
    CONVERGED = "converged"  # the dev likelihood did not improve for `patience` evaluations
    BUDGET = "budget"  # the time was used up
    DIVERGED = "diverged"  # the loss stopped being a number


@dataclass(frozen=True, slots=True)
class TrainingRows:
    """Encoded texts with the teacher's answers [n, classes] and one weight each [n]."""

    token_ids: tuple[TokenIds, ...]
    teacher_probabilities: NDArray[np.float32]
    weights: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.token_ids)


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """How to train; every field belongs into the student's lineage."""

    learning_rate: float
    epochs: int
    batch_rows: int = 32
    temperature: float = 2.0
    head_rate_multiple: float = 1.0
    weight_decay: float = 0.01  # of matrices; vectors and token tables have none
    warmup_share: float = 0.06
    clip_norm: float = 1.0
    evaluations_per_epoch: int = 1
    patience: int = 3
    seed: int = 0
    threads: int = 2
    budget_seconds: float = 600.0


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One look at the dev rows: nats after temperature scaling, and agreement with the teacher."""

    step: int
    train_loss: float
    dev_nll: float
    dev_fidelity: float


@dataclass(frozen=True, slots=True)
class TrainedStudent:
    """The best weights seen, which the module now holds, and how they were reached."""

    state: dict[str, Tensor]
    history: tuple[Evaluation, ...]
    best_step: int
    stop: StopReason
    seconds: float
    threads: int


def train(
    student: nn.Module,
    train_rows: TrainingRows,
    dev_rows: TrainingRows,
    settings: TrainSettings,
    progress: Progress | None = None,
) -> TrainedStudent:
    """Train `student` in place and leave the weights with the best dev likelihood in it."""
    _seed(settings)
    started = time.monotonic()
    steps_per_epoch = math.ceil(len(train_rows) / settings.batch_rows)
    total = steps_per_epoch * settings.epochs
    every = max(1, steps_per_epoch // settings.evaluations_per_epoch)
    optimizer, schedule = _optimizer(student, settings, total)
    best_nll, best_step, best = math.inf, 0, _trained_weights(student)
    history: list[Evaluation] = []
    losses: list[float] = []
    stop = StopReason.COMPLETED
    for step, batch in enumerate(_batches(train_rows, settings), start=1):
        losses.append(_step(student, batch, optimizer, settings))
        schedule.step()
        if not math.isfinite(losses[-1]):
            stop = StopReason.DIVERGED
            break
        over_budget = time.monotonic() - started > settings.budget_seconds
        if step % every and step != total and not over_budget:
            continue
        evaluation = _evaluate(student, dev_rows, step, losses)
        history.append(evaluation)
        losses.clear()
        if progress:
            progress(step, total, evaluation.dev_nll)
        if evaluation.dev_nll < best_nll:
            best_nll, best_step, best = evaluation.dev_nll, step, _trained_weights(student)
        if over_budget and step != total:
            stop = StopReason.BUDGET
            break
        if step - best_step >= settings.patience * every:
            stop = StopReason.CONVERGED
            break
    student.load_state_dict(best, strict=False)
    seconds = time.monotonic() - started
    return TrainedStudent(student.state_dict(), tuple(history), best_step, stop, seconds, settings.threads)


def predict_logits(student: nn.Module, token_ids: Sequence[TokenIds]) -> NDArray[np.float32]:
    """Logits [rows, classes] in the order of the rows, computed in batches of similar length."""
    student.eval()
    return _predicted(student, token_ids)


def predict_pooled(student: PooledStudent, token_ids: Sequence[TokenIds]) -> NDArray[np.float32]:
    """Embeddings [rows, width], likewise."""
    student.eval()
    return _predicted(student.pooled, token_ids)


def _predicted(answer: Callable[..., Tensor], token_ids: Sequence[TokenIds]) -> NDArray[np.float32]:
    order = sorted(range(len(token_ids)), key=lambda row: len(token_ids[row]))
    batches = [order[start : start + _PREDICTION_BATCH] for start in range(0, len(order), _PREDICTION_BATCH)]
    with torch.inference_mode():
        answers = [answer(*padded([token_ids[row] for row in batch])).numpy() for batch in batches]
    in_batch_order = np.concatenate(answers).astype(np.float32)
    return in_batch_order[np.argsort(order)]


def _seed(settings: TrainSettings) -> None:
    torch.set_num_threads(settings.threads)
    torch.manual_seed(settings.seed)


def _step(
    student: nn.Module, batch: Batch, optimizer: torch.optim.Optimizer, settings: TrainSettings
) -> float:
    input_ids, attention_mask, teacher_probabilities, weights = batch
    student.train()
    logits = student(input_ids, attention_mask)
    loss = distillation_loss(logits, teacher_probabilities, settings.temperature, weights)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(student.parameters(), settings.clip_norm)
    optimizer.step()
    return loss.item()


def _evaluate(student: nn.Module, dev_rows: TrainingRows, step: int, losses: Sequence[float]) -> Evaluation:
    logits = predict_logits(student, dev_rows.token_ids)
    teacher = dev_rows.teacher_probabilities
    # "refine, then calibrate": likelihood after scaling, since a temperature is fitted in any case
    calibration = fit_temperature(logits, teacher, minimum_rows=1)
    fidelity = float((logits.argmax(axis=1) == teacher.argmax(axis=1)).mean())
    return Evaluation(step, float(np.mean(losses)), calibration.nll_after, fidelity)


def _trained_weights(student: nn.Module) -> dict[str, Tensor]:
    """Copies of what training changes; frozen tables are most of a small student."""
    return {
        name: weight.detach().clone() for name, weight in student.named_parameters() if weight.requires_grad
    }


def _optimizer(
    student: nn.Module, settings: TrainSettings, total: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LambdaLR]:
    head_rate = settings.learning_rate * settings.head_rate_multiple
    tables = {id(module.weight) for module in student.modules() if isinstance(module, nn.Embedding)}
    groups = []
    for name, weight in student.named_parameters():
        if weight.requires_grad:
            decays = weight.ndim > 1 and id(weight) not in tables
            groups.append(
                {
                    "params": [weight],
                    "lr": head_rate if name.startswith("head.") else settings.learning_rate,
                    "weight_decay": settings.weight_decay if decays else 0.0,
                }
            )
    # fused: one pass over a token table's gradient and moments, not a dozen
    optimizer = torch.optim.AdamW(groups, fused=True)
    warmup = max(1, round(total * settings.warmup_share))
    return optimizer, torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / warmup, max(0.0, (total - step) / max(1, total - warmup)))
    )


def _batches(rows: TrainingRows, settings: TrainSettings) -> Iterator[Batch]:
    shuffler = np.random.default_rng(settings.seed)
    for _ in range(settings.epochs):
        for places in _length_batches(rows.token_ids, settings.batch_rows, shuffler):
            input_ids, attention_mask = padded([rows.token_ids[place] for place in places])
            teacher = torch.from_numpy(rows.teacher_probabilities[places])
            yield input_ids, attention_mask, teacher, torch.from_numpy(rows.weights[places])


def _length_batches(
    token_ids: Sequence[TokenIds], batch_rows: int, shuffler: np.random.Generator
) -> Iterator[list[int]]:
    order = shuffler.permutation(len(token_ids)).tolist()
    batches: list[list[int]] = []
    for start in range(0, len(order), batch_rows * _POOL_BATCHES):
        pool = sorted(order[start : start + batch_rows * _POOL_BATCHES], key=lambda row: len(token_ids[row]))
        batches += [pool[at : at + batch_rows] for at in range(0, len(pool), batch_rows)]
    for number in shuffler.permutation(len(batches)):
        yield batches[number]
