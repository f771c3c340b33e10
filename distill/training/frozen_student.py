"""A whole encoder as it is, and a small head that alone is trained, on embeddings that are computed once."""

from dataclasses import replace

import torch
from torch import Tensor, nn

from distill.training.pooled_student import PooledStudent
from distill.training.predict import predict_pooled
from distill.training.training_rows import Matrix, TrainingRows
from distill.training.transformer_student import TransformerStudent, prepare_encoder, width_of

HIDDEN = 256
DROPOUT = 0.3


class CachedStudent(PooledStudent):
    """The head behind a table of embeddings: the first id of a row is its place in the table."""

    def __init__(self, embeddings: Matrix, head: nn.Module) -> None:
        super().__init__()
        # not persistent: embeddings of texts must not lie in checkpoints
        self.register_buffer("embeddings", torch.from_numpy(embeddings), persistent=False)
        self.head = head

    def pooled(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """The embedding of the row."""
        embedding: Tensor = self.get_buffer("embeddings")[input_ids[:, 0]]
        return embedding


def frozen_student(encoder: nn.Module, classes: int) -> TransformerStudent:
    """Mean pooling over the encoder, of which nothing trains, and a head of one hidden layer."""
    prepare_encoder(encoder)
    encoder.requires_grad_(False)
    width = width_of(encoder)
    student = TransformerStudent(encoder, width, classes)
    student.head = nn.Sequential(
        nn.LayerNorm(width),
        nn.Dropout(DROPOUT),
        nn.Linear(width, HIDDEN),
        nn.ReLU(),
        nn.Dropout(DROPOUT),
        nn.Linear(HIDDEN, classes),
    )
    return student


def cached(
    student: TransformerStudent, train: TrainingRows, dev: TrainingRows
) -> tuple[CachedStudent, TrainingRows, TrainingRows]:
    """The same head over the rows' embeddings, and the rows as places in their table.

    Each row keeps its ids behind its place, so that other texts are other rows.
    """
    embeddings = predict_pooled(student, (*train.token_ids, *dev.token_ids))
    placed = [(place, *row) for place, row in enumerate((*train.token_ids, *dev.token_ids))]
    head_only = CachedStudent(embeddings, student.head)
    rows = replace(train, token_ids=tuple(placed[: len(train)]))
    return head_only, rows, replace(dev, token_ids=tuple(placed[len(train) :]))
