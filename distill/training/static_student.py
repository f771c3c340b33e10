"""The cheapest student: a weighted mean of token vectors and a small head; no attention, no word order.

As in model2vec (github.com/MinishLab/model2vec) a token's vector is a sentence encoder's answer to that token
alone, reduced by PCA, and rare tokens start with more weight (SIF: Arora, Liang, Ma 2017). Vectors and
weights are then trained with the head.
"""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from distill.training.pooled_student import PooledStudent

WIDTH = 256
HIDDEN = 256
DROPOUT = 0.3
SIF_COEFFICIENT = 1e-3
_TABLE_BATCH = 1024
_MEAN_NORM = 3.0  # of the initial vectors: with Adam's fixed step size, larger vectors move relatively less
_MASKED = -1e9


class StaticStudent(PooledStudent):
    """A weighted mean of token vectors and a small head."""

    def __init__(self, table: Tensor, classes: int, hidden: int = HIDDEN, dropout: float = DROPOUT) -> None:
        super().__init__()
        self.table = nn.Embedding(table.shape[0], table.shape[1], _weight=table.clone())
        self.token_weight = nn.Embedding(len(table), 1, _weight=sif_log_weights(len(table)))
        self.head = nn.Sequential(
            nn.LayerNorm(table.shape[1]),
            nn.Dropout(dropout),
            nn.Linear(table.shape[1], hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, classes),
        )

    def pooled(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Softmax over the text's own tokens turns the learned log weights into shares of the mean."""
        weight = self.token_weight(input_ids).squeeze(-1)
        share = torch.softmax(weight.masked_fill(attention_mask == 0, _MASKED), dim=-1)
        embedding: Tensor = (self.table(input_ids) * share.unsqueeze(-1)).sum(dim=1)
        return embedding


def sif_log_weights(vocabulary: int) -> Tensor:
    """log(a / (a + p)) [vocabulary, 1] with p by Zipf's law: ids of trained vocabularies fall in frequency."""
    frequency = 1.0 / torch.arange(2, vocabulary + 2, dtype=torch.float32)
    frequency = frequency / frequency.sum()
    return (SIF_COEFFICIENT / (SIF_COEFFICIENT + frequency)).log().unsqueeze(-1)


def token_table(encoder: nn.Module, special_ids: Sequence[int], width: int = WIDTH) -> Tensor:
    """One vector [vocabulary, width] a token: the encoder's mean answer to it between the special tokens."""
    before, after = _around(special_ids)
    vocabulary: int = encoder.get_input_embeddings().num_embeddings  # type: ignore[operator]
    encoder.eval()
    answers = []
    with torch.inference_mode():
        for tokens in torch.split(torch.arange(vocabulary), _TABLE_BATCH):
            columns = [torch.full_like(tokens, fixed) for fixed in before]
            columns += [tokens, *(torch.full_like(tokens, fixed) for fixed in after)]
            input_ids = torch.stack(columns, dim=1)
            hidden = encoder(input_ids=input_ids, attention_mask=torch.ones_like(input_ids)).last_hidden_state
            answers.append(hidden.mean(dim=1))
    return _principal_components(torch.cat(answers).clone(), width)


def cached_token_table(encoder: nn.Module, special_ids: Sequence[int], cache: Path) -> Tensor:
    """`token_table`, computed once for these weights: it costs half a minute of processor time."""
    path = cache / f"token-table-{_fingerprint(encoder, special_ids)}-{WIDTH}.npy"
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f".{os.getpid()}-{path.name}")
        np.save(unfinished, token_table(encoder, special_ids).numpy())
        unfinished.rename(path)  # complete or absent
    table: Tensor = torch.from_numpy(np.load(path, allow_pickle=False))
    return table


def _fingerprint(encoder: nn.Module, special_ids: Sequence[int]) -> str:
    digest = hashlib.sha256(repr(tuple(special_ids)).encode())
    for name, weight in encoder.state_dict().items():
        digest.update(f"{name} {tuple(weight.shape)}".encode())
        digest.update(weight.numpy().tobytes())
    return digest.hexdigest()[:16]


def _around(special_ids: Sequence[int]) -> tuple[Sequence[int], Sequence[int]]:
    """The ids of an empty text, divided into those before and those after a text."""
    middle = len(special_ids) // 2
    return special_ids[:middle], special_ids[middle:]


def _principal_components(vectors: Tensor, width: int) -> Tensor:
    centred = vectors - vectors.mean(dim=0)
    _, directions = torch.linalg.eigh(centred.T @ centred)  # in ascending order of variance
    reduced = centred @ directions.flip(1)[:, : min(width, directions.shape[1])]
    scaled: Tensor = reduced * (_MEAN_NORM / reduced.norm(dim=1).mean().clamp(min=1e-9))
    return scaled
