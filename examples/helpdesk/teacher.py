"""Builds the demo's teacher: a MiniLM-L6 sentence encoder with a logistic-regression head, as one ONNX file.

The head learns from labelled posts of every area; its strength and its temperature are chosen on held-out posts.
"""

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.export import Dim

from distill.training.export import quiet_exporter
from distill.training.transformer_student import load_encoder
from examples.helpdesk.corpus import Post

MAX_TOKENS = 64
MODEL_FILE = "model.onnx"
TOKENIZER_FILE = "tokenizer.json"
CARD_FILE = "labels.json"

_BATCH = 32
_THREADS = 2
_HELD_OUT_SHARE = 0.2
_STRENGTHS = (1.0, 3.0, 10.0, 30.0)  # C of the logistic regression, on unit-length embeddings

Matrix = NDArray[np.float32]
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Head:
    """A linear classifier on embeddings; `weight` is [classes, width], `bias` [classes]."""

    labels: tuple[str, ...]
    weight: Matrix
    bias: Matrix
    strength: float
    temperature: float


@dataclass(frozen=True, slots=True)
class TeacherCard:
    """What was built; `held_out_*` were measured on posts that chose C and temperature, so slightly rosy."""

    version: str
    labels: tuple[str, ...]
    max_tokens: int
    posts: int
    strength: float
    temperature: float
    held_out_accuracy: float
    held_out_log_loss: float
    seconds: float


class TeacherGraph(nn.Module):
    """Token ids and mask [batch, seq] in, class probabilities [batch, classes] out."""

    def __init__(self, encoder: nn.Module, head: Head) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = nn.Linear(head.weight.shape[1], len(head.labels))
        with torch.no_grad():  # the temperature is baked into the head
            self.head.weight.copy_(torch.from_numpy(head.weight / head.temperature))
            self.head.bias.copy_(torch.from_numpy(head.bias / head.temperature))

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        embedding = _mean_pooled(self.encoder, input_ids, attention_mask)
        return torch.softmax(self.head(embedding), dim=-1)


def build_teacher(
    posts: Sequence[Post], encoder_folder: Path, folder: Path, seed: int, progress: Progress | None = None
) -> TeacherCard:
    """Embed the posts, fit the head, export, and write model, tokenizer and card into `folder`."""
    started = time.monotonic()
    torch.set_num_threads(_THREADS)
    tokenizer = load_tokenizer(encoder_folder)
    encoder = load_encoder(str(encoder_folder)).eval()
    embeddings = _embed([post.text for post in posts], tokenizer, encoder, progress)
    head, accuracy, log_loss = _fit_head(embeddings, [post.desk for post in posts], seed)
    folder.mkdir(parents=True, exist_ok=True)
    _export(TeacherGraph(encoder, head).eval(), folder / MODEL_FILE)
    tokenizer.save(str(folder / TOKENIZER_FILE))
    card = TeacherCard(
        version=hashlib.sha256((folder / MODEL_FILE).read_bytes()).hexdigest()[:12],
        labels=head.labels,
        max_tokens=MAX_TOKENS,
        posts=len(posts),
        strength=head.strength,
        temperature=head.temperature,
        held_out_accuracy=accuracy,
        held_out_log_loss=log_loss,
        seconds=time.monotonic() - started,
    )
    (folder / CARD_FILE).write_text(json.dumps(asdict(card), indent=1))
    return card


def load_tokenizer(encoder_folder: Path) -> Tokenizer:
    """The encoder's tokenizer, cutting at MAX_TOKENS and not padding (its file asks for 128 of both)."""
    tokenizer: Tokenizer = Tokenizer.from_file(str(encoder_folder / TOKENIZER_FILE))
    tokenizer.enable_truncation(MAX_TOKENS)
    tokenizer.no_padding()
    return tokenizer


def _mean_pooled(encoder: nn.Module, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
    hidden = encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
    mask = attention_mask.unsqueeze(-1).to(hidden.dtype)
    pooled = (hidden * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1.0)
    return nn.functional.normalize(pooled, dim=-1)


def _embed(
    texts: Sequence[str], tokenizer: Tokenizer, encoder: nn.Module, progress: Progress | None
) -> Matrix:
    ids = [encoding.ids for encoding in tokenizer.encode_batch(list(texts))]
    order = sorted(range(len(ids)), key=lambda row: len(ids[row]))  # equal lengths together: little padding
    answers: list[Matrix] = []
    for start in range(0, len(order), _BATCH):
        rows = order[start : start + _BATCH]
        with torch.inference_mode():
            answers.append(_mean_pooled(encoder, *_padded([ids[row] for row in rows])).numpy())
        if progress:
            progress(min(start + _BATCH, len(order)), len(order))
    in_length_order: Matrix = np.concatenate(answers)
    return in_length_order[np.argsort(order)]


def _padded(rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    input_ids = torch.zeros((len(rows), max(len(row) for row in rows)), dtype=torch.int64)
    attention_mask = torch.zeros_like(input_ids)
    for place, row in enumerate(rows):
        input_ids[place, : len(row)] = torch.tensor(row)
        attention_mask[place, : len(row)] = 1
    return input_ids, attention_mask


def _fit_head(embeddings: Matrix, desks: Sequence[str], seed: int) -> tuple[Head, float, float]:
    """The head refitted on every post, with the C and temperature that a held-out fifth preferred."""
    x, held_x, y, held_y = train_test_split(
        embeddings, np.array(desks), test_size=_HELD_OUT_SHARE, random_state=seed, stratify=desks
    )
    trials = [_trial(strength, x, y, held_x, held_y) for strength in _STRENGTHS]
    log_loss, strength, temperature, accuracy = min(trials)
    final = LogisticRegression(C=strength, max_iter=1000).fit(embeddings, np.array(desks))
    weight, bias = final.coef_.astype(np.float32), final.intercept_.astype(np.float32)
    return Head(tuple(final.classes_.tolist()), weight, bias, strength, temperature), accuracy, log_loss


def _trial(
    strength: float, x: Matrix, y: NDArray[np.str_], held_x: Matrix, held_y: NDArray[np.str_]
) -> tuple[float, float, float, float]:
    classifier = LogisticRegression(C=strength, max_iter=1000).fit(x, y)
    logits = classifier.decision_function(held_x)
    truth = np.searchsorted(classifier.classes_, held_y)

    def negative_log_likelihood(log_beta: float) -> float:
        log_probabilities = log_softmax(logits * np.exp(log_beta), axis=1)
        return float(-log_probabilities[np.arange(len(truth)), truth].mean())

    best = minimize_scalar(negative_log_likelihood, bounds=(-2.0, 2.0), method="bounded")
    accuracy = float((logits.argmax(axis=1) == truth).mean())
    return float(best.fun), strength, float(np.exp(-best.x)), accuracy


def _export(graph: TeacherGraph, path: Path) -> None:
    # two rows of unequal length: sizes of one, and rows without padding, would be baked in as constants
    example = _padded([[101, 7592, 2088, 102], [101, 7592, 102]])
    axes = {0: Dim("batch"), 1: Dim("seq")}
    with quiet_exporter():
        torch.onnx.export(
            graph,
            example,
            str(path),
            input_names=["input_ids", "attention_mask"],
            output_names=["probs"],
            dynamic_shapes=(axes, axes),
            opset_version=20,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
