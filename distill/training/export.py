"""A trained student as one ONNX file, and the check that the file answers as the trained student does."""

import copy
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn
from torch.export import Dim

from distill.training.encode import TokenIds, padded
from distill.training.exported import (
    INPUT_NAMES,
    OUTPUT_NAMES,
    SPOTS_NAME,
    Matrix,
    answer,
    answer_alone,
    mixed_batches,
    open_exported,
)
from distill.training.pooled_student import PooledStudent
from distill.training.spot_map import SpotMap

OPSET = 20
LOGIT_LIMIT = 1e-4  # exported against trained
BATCH_LIMIT = 1e-5  # a row alone against the same row padded among others


class ParityBroken(Exception):
    """The exported file differs from the trained student; the message says in what and by how much."""


@dataclass(frozen=True, slots=True)
class Parity:
    """Largest absolute differences over `rows` texts; `argmax_agreement` leaves out ties within LOGIT_LIMIT."""

    max_abs_logit_difference: float
    max_abs_probability_difference: float
    batch_invariance: float
    argmax_agreement: float
    rows: int


class ServedStudent(nn.Module):
    """What is served: the student's logits, and its calibrated probabilities softmax(logits / temperature)."""

    def __init__(self, student: nn.Module, temperature: float) -> None:
        super().__init__()
        self.student = student
        self.temperature = temperature

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and probs, both [batch, classes]."""
        logits = self.student(input_ids, attention_mask)
        return logits, torch.softmax(logits / self.temperature, dim=-1)


class PlacedStudent(nn.Module):
    """The same, and where each text lies in the student's embedding."""

    def __init__(self, student: PooledStudent, temperature: float, spot_map: SpotMap) -> None:
        super().__init__()
        self.student = student
        self.temperature = temperature
        self.spot_map = spot_map

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits and probs, both [batch, classes], and spots [batch, 2]."""
        pooled = self.student.pooled(input_ids, attention_mask)
        logits = self.student.head(pooled)
        return logits, torch.softmax(logits / self.temperature, dim=-1), self.spot_map(pooled)


def export_student(student: nn.Module, temperature: float, path: Path) -> None:
    """Write the served student as a single ONNX file with dynamic batch and sequence."""
    _export(ServedStudent(copy.deepcopy(student), temperature), path, OUTPUT_NAMES)


def export_placed(student: PooledStudent, temperature: float, spot_map: SpotMap, path: Path) -> None:
    """The same file, which also tells spots."""
    graph = PlacedStudent(copy.deepcopy(student), temperature, spot_map)
    _export(graph, path, (*OUTPUT_NAMES, SPOTS_NAME))


def _export(graph: nn.Module, path: Path, outputs: Sequence[str]) -> None:
    # two rows of unequal length: a size of one, or a batch without padding, would become a constant
    example = padded([(1, 2, 3, 4), (1, 2)])
    axes = {0: Dim("batch"), 1: Dim("seq")}
    with quiet_exporter():
        torch.onnx.export(
            graph.eval(),
            example,
            str(path),
            input_names=list(INPUT_NAMES),
            output_names=list(outputs),
            dynamic_shapes=(axes, axes),
            opset_version=OPSET,
            dynamo=True,
            external_data=False,  # one file, one digest
            verbose=False,
        )


def check_parity(student: nn.Module, temperature: float, path: Path, rows: Sequence[TokenIds]) -> Parity:
    """Compare names, shapes and values, rows alone and padded in batches. Raises ParityBroken."""
    session = open_exported(path)
    _check_names(session)
    graph = ServedStudent(student, temperature).eval()
    batches = [[rows[row] for row in batch] for batch in mixed_batches(rows)]
    trained = [_trained(graph, batch) for batch in batches]
    exported = [answer(session, batch) for batch in batches]
    alone, _ = answer_alone(session, [row for batch in batches for row in batch])
    _check_shapes(trained, exported)
    logits, served = (np.concatenate([answer[0] for answer in answers]) for answers in (trained, exported))
    parity = Parity(
        max_abs_logit_difference=_largest(logits - served),
        max_abs_probability_difference=_largest(
            np.concatenate([t[1] - e[1] for t, e in zip(trained, exported, strict=True)])
        ),
        batch_invariance=_largest(served - alone),
        argmax_agreement=_argmax_agreement(logits, served),
        rows=len(rows),
    )
    _check_values(parity)
    return parity


def _check_names(session: onnxruntime.InferenceSession) -> None:
    inputs = tuple(node.name for node in session.get_inputs())
    outputs = tuple(node.name for node in session.get_outputs())
    if set(inputs) != set(INPUT_NAMES) or outputs not in (OUTPUT_NAMES, (*OUTPUT_NAMES, SPOTS_NAME)):
        raise ParityBroken(
            f"the exported graph has inputs {inputs} and outputs {outputs}, not {INPUT_NAMES} and {OUTPUT_NAMES};"
            " a student must read both inputs"
        )


def _check_shapes(
    trained: Sequence[tuple[Matrix, Matrix]], exported: Sequence[tuple[Matrix, Matrix]]
) -> None:
    for expected, found in zip(trained, exported, strict=True):
        if expected[0].shape != found[0].shape or expected[1].shape != found[1].shape:
            raise ParityBroken(f"logits have shape {found[0].shape} exported and {expected[0].shape} trained")


def _check_values(parity: Parity) -> None:
    # written so that NaN fails too
    if not parity.max_abs_logit_difference <= LOGIT_LIMIT:
        raise ParityBroken(
            f"logits differ by up to {parity.max_abs_logit_difference:.2g} between the trained and the exported"
            f" student; the limit is {LOGIT_LIMIT:g}"
        )
    if not parity.max_abs_probability_difference <= LOGIT_LIMIT:
        raise ParityBroken(
            f"probs differ by up to {parity.max_abs_probability_difference:.2g} between the trained and the"
            f" exported student; the limit is {LOGIT_LIMIT:g}"
        )
    if not parity.batch_invariance <= BATCH_LIMIT:
        raise ParityBroken(
            f"padding a row among others moves its logits by up to {parity.batch_invariance:.2g}; the limit is"
            f" {BATCH_LIMIT:g}: the student does not obey its attention mask"
        )


def _trained(graph: ServedStudent, rows: Sequence[TokenIds]) -> tuple[Matrix, Matrix]:
    with torch.inference_mode():
        logits, probabilities = graph(*padded(rows))
    return logits.numpy(), probabilities.numpy()


def _largest(differences: Matrix) -> float:
    return float(np.abs(differences).max())


def _argmax_agreement(trained: Matrix, exported: Matrix) -> float:
    top_two = np.sort(trained, axis=1)[:, -2:]
    decided = top_two[:, 1] - top_two[:, 0] > LOGIT_LIMIT
    agrees = trained.argmax(axis=1) == exported.argmax(axis=1)
    return float(agrees[decided].mean()) if decided.any() else 1.0


@contextmanager
def quiet_exporter() -> Iterator[None]:
    """Hide the exporter's notes on its own deprecations and on packages that a student does not use."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
