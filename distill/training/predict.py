"""A student's answers to encoded texts, in the order of the texts."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from distill.training.encode import TokenIds, padded
from distill.training.pooled_student import PooledStudent

_BATCH_ROWS = 64


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
    batches = [order[start : start + _BATCH_ROWS] for start in range(0, len(order), _BATCH_ROWS)]
    with torch.inference_mode():
        answers = [answer(*padded([token_ids[row] for row in batch])).numpy() for batch in batches]
    in_batch_order = np.concatenate(answers).astype(np.float32)
    return in_batch_order[np.argsort(order)]
