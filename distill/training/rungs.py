"""The students of the ladder, untrained, and how each kind is trained."""

import time
from pathlib import Path

from tokenizers import Tokenizer
from torch import nn

from distill.training.checkpoints import weights_digest
from distill.training.course import Evaluation, Progress
from distill.training.custom_student import custom_student
from distill.training.frozen_student import cached, frozen_student
from distill.training.linear_student import LinearStudent, fit_linear
from distill.training.predict import predict_logits
from distill.training.settings import TrainSettings
from distill.training.static_student import StaticStudent, cached_token_table, token_table
from distill.training.train import Fitted, StopReason, train
from distill.training.training_rows import TrainingRows
from distill.training.transformer_student import TransformerStudent, load_encoder, transformer_student
from distill.training.untrainable import Untrainable, untrainable
from ledger.configuration import CandidateSection


def untrained(section: CandidateSection, tokenizer: Tokenizer, classes: int, cache: Path | None) -> nn.Module:
    """The rung's student before training. What depends on the encoder alone is kept in `cache`."""
    vocabulary = tokenizer.get_vocab_size()
    if section.kind == "linear":
        return LinearStudent(vocabulary, classes)
    if section.kind == "custom":
        assert section.factory is not None
        return custom_student(section.factory, section.encoder, vocabulary, classes)
    encoder = load_encoder(section.encoder)
    if section.kind == "transformer":
        return transformer_student(encoder, section.layers, classes)
    if section.kind == "frozen":
        return frozen_student(encoder, classes)
    special_ids = tokenizer.encode("").ids
    if cache is None:
        return StaticStudent(token_table(encoder, special_ids), classes)
    return StaticStudent(cached_token_table(encoder, special_ids, cache), classes)


def train_rung(
    student: nn.Module,
    rows: TrainingRows,
    dev: TrainingRows,
    settings: TrainSettings,
    folder: Path,
    progress: Progress | None = None,
    seconds_per_step: float | None = None,
) -> Fitted | Untrainable:
    """Train the rung's student in the way of its kind, in place; see `train`."""
    if isinstance(student, LinearStudent):
        return _train_linear(student, rows, dev, settings)
    if isinstance(student, TransformerStudent) and student.is_frozen:
        refusal = untrainable(rows, dev)
        if refusal is not None:
            return refusal
        head_only, placed, placed_dev = cached(student, rows, dev)
        fitted = train(head_only, placed, placed_dev, settings, folder, progress, seconds_per_step)
        student.eval()
        return fitted
    return train(student, rows, dev, settings, folder, progress, seconds_per_step)


def _train_linear(
    student: LinearStudent, rows: TrainingRows, dev: TrainingRows, settings: TrainSettings
) -> Fitted | Untrainable:
    """A convex fit of seconds: a run that was killed begins anew and ends the same."""
    refusal = untrainable(rows, dev)
    if refusal is not None:
        return refusal
    started = time.monotonic()
    nll = fit_linear(student, rows, dev)
    agrees = predict_logits(student, dev.token_ids).argmax(axis=1) == dev.teacher_probabilities.argmax(axis=1)
    return Fitted(
        student=student,
        history=(Evaluation(1, float("nan"), nll, float(agrees.mean())),),
        best_step=1,
        stop=StopReason.COMPLETED,
        planned_steps=1,
        all_steps=1,
        cut_step=None,
        resumed=0,
        seconds=time.monotonic() - started,
        threads=settings.threads,
        digest=weights_digest(student),
    )
