"""The baseline: TF-IDF over the tokenizer's tokens and a linear layer, as scikit-learn fits it, in the students' graph.

Whatever a larger student cannot beat it need not be: on notices with telling words this one wins.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

from distill.training.calibrate import fit_temperature
from distill.training.encode import TokenIds
from distill.training.pooled_student import PooledStudent
from distill.training.training_rows import TrainingRows

STRENGTHS = (1.0, 10.0, 100.0)  # of the fit, C; the best on the dev rows is kept
LEAST_SHARE = 0.01  # of a row's target: a class with less is not worth a copy of the row
ROUNDS = 200  # of the solver at most

Matrix = NDArray[np.float32]


class Bias(nn.Module):
    """The head: what each class has before a text is read."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(classes))

    def forward(self, pooled: Tensor) -> Tensor:
        return pooled + self.bias


class LinearStudent(PooledStudent):
    """The sum of the tokens' weights for each class, over the length of the text's vector of token weights."""

    def __init__(self, vocabulary: int, classes: int) -> None:
        super().__init__()
        self.weights = nn.Embedding(vocabulary, classes, _weight=torch.zeros(vocabulary, classes))
        self.squares = nn.Embedding(vocabulary, 1, _weight=torch.ones(vocabulary, 1))
        self.squares.requires_grad_(False)
        self.head = Bias(classes)

    def pooled(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """The evidence for each class [batch, classes]; it is all that this student makes of a text."""
        mask = attention_mask.unsqueeze(-1).to(self.weights.weight.dtype)
        evidence = (self.weights(input_ids) * mask).sum(dim=1)
        length = (self.squares(input_ids) * mask).sum(dim=1).clamp(min=1e-12).sqrt()
        embedding: Tensor = evidence / length
        return embedding


def fit_linear(student: LinearStudent, train: TrainingRows, dev: TrainingRows) -> float:
    """Set the student's weights to the fit that is best on the dev rows; its nats a dev row.

    Soft targets are copies of a row, one a class, each with its share of the row's weight.
    """
    idf = _inverse_frequencies(train.token_ids, student.weights.num_embeddings)
    counted, held_out = (_counted(rows.token_ids, idf) for rows in (train, dev))
    rows, classes, shares = _copies(train)
    best, kept = np.inf, None
    for strength in STRENGTHS:
        with threadpool_limits(1):  # from zero and on one thread, the same rows give the same bits
            model = LogisticRegression(C=strength, max_iter=ROUNDS)
            model.fit(counted[rows], classes, sample_weight=shares)
        logits = _logits(model, held_out, train.teacher_probabilities.shape[1])
        nll = fit_temperature(logits, dev.teacher_probabilities, minimum_rows=1).nll_after
        if nll < best:
            best, kept = nll, model
    assert kept is not None
    _take(student, kept, idf)
    return float(best)


def _inverse_frequencies(token_ids: tuple[TokenIds, ...], vocabulary: int) -> NDArray[np.float64]:
    """log((1 + rows) / (1 + rows with the token)) + 1 [vocabulary]."""
    seen = np.zeros(vocabulary)
    for row in token_ids:
        seen[list(set(row))] += 1
    idf: NDArray[np.float64] = np.log((1 + len(token_ids)) / (1 + seen)) + 1
    return idf


def _counted(token_ids: tuple[TokenIds, ...], idf: NDArray[np.float64]) -> csr_matrix:
    """Token weights [rows, vocabulary], each occurrence counted, divided by sqrt(sum of their squares)."""
    lengths = [len(row) for row in token_ids]
    places = np.concatenate([np.asarray(row) for row in token_ids])
    norms = np.array([np.sqrt((idf[list(row)] ** 2).sum()) for row in token_ids])
    values = idf[places] / np.repeat(norms, lengths)
    ends = np.concatenate([[0], np.cumsum(lengths)])
    counted = csr_matrix((values, places, ends), shape=(len(token_ids), len(idf)))
    counted.sum_duplicates()
    return counted


def _copies(train: TrainingRows) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]:
    """Row, class and weight of each copy."""
    rows, classes = np.nonzero(train.teacher_probabilities >= LEAST_SHARE)
    shares = train.teacher_probabilities[rows, classes].astype(np.float64) * train.weights[rows]
    counts = shares > 0
    return rows[counts], classes[counts], shares[counts] / train.weights.mean()


def _logits(model: LogisticRegression, counted: csr_matrix, classes: int) -> NDArray[np.float64]:
    weights, bias = _full(model, classes)
    logits: NDArray[np.float64] = counted @ weights.T + bias
    return logits


def _full(model: LogisticRegression, classes: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weights [classes, vocabulary] and bias [classes], of classes too that no row had."""
    weights, bias = np.zeros((classes, model.coef_.shape[1])), np.full(classes, -30.0)
    if len(model.classes_) == 2:
        first, second = model.classes_  # scikit-learn keeps one row, for the second class against the first
        weights[second], bias[first], bias[second] = model.coef_[0], 0.0, model.intercept_[0]
    else:
        weights[model.classes_], bias[model.classes_] = model.coef_, model.intercept_
    return weights, bias


def _take(student: LinearStudent, model: LogisticRegression, idf: NDArray[np.float64]) -> None:
    weights, bias = _full(model, student.weights.embedding_dim)
    with torch.no_grad():
        student.weights.weight.copy_(torch.from_numpy((weights * idf).T))
        student.squares.weight.copy_(torch.from_numpy(idf**2).unsqueeze(-1))
        assert isinstance(student.head, Bias)
        student.head.bias.copy_(torch.from_numpy(bias))
