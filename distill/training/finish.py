"""From trained weights to an artifact's files: temperature, ONNX, tokenizer, and the weights themselves."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from scipy.special import softmax
from tokenizers import Tokenizer
from torch import nn

from distill.training.calibrate import Calibration, fit_temperature
from distill.training.checkpoints import learned
from distill.training.encode import TokenIds, save_tokenizer
from distill.training.export import LOGIT_LIMIT, ParityBroken, check_parity, export_placed, export_student
from distill.training.pooled_student import PooledStudent
from distill.training.predict import predict_logits, predict_pooled
from distill.training.spot_map import evenly, fit_spot_map
from distill.training.training_rows import TrainingRows
from ledger.artifacts import MODEL_FILE, WEIGHTS_FILE
from student.session import Student

PARITY_ROWS = 1000


@dataclass(frozen=True, slots=True)
class Exported:
    """What the files were made with, and how far they are from what was trained."""

    calibration: Calibration
    parity: dict[str, float]


def calibrate_and_export(
    student: nn.Module,
    tokenizer: Tokenizer,
    train_rows: TrainingRows,
    dev_rows: TrainingRows,
    held_out: TrainingRows,
    folder: Path,
    seed: int = 0,
) -> Exported:
    """Write model, tokenizer and weights into `folder`. Raises ParityBroken.

    The temperature is fitted on `held_out`, which neither trained the student nor chose it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    logits = predict_logits(student, held_out.token_ids) if len(held_out) else np.zeros((0, 2))
    calibration = fit_temperature(logits, held_out.teacher_probabilities)
    _export(student, calibration.temperature, train_rows, folder / MODEL_FILE, seed)
    save_tokenizer(tokenizer, folder)
    save_file(learned(student), folder / WEIGHTS_FILE)
    texts = (*dev_rows.token_ids, *held_out.token_ids)[:PARITY_ROWS]
    parity = check_parity(student, calibration.temperature, folder / MODEL_FILE, texts)
    return Exported(calibration, asdict(parity))


def check_served(
    served: Student,
    student: nn.Module,
    temperature: float,
    texts: Sequence[str],
    token_ids: Sequence[TokenIds],
) -> float:
    """The largest difference of a probability between training and the student process's own code.

    `token_ids` are what training gave the texts. Raises ParityBroken: what differs is tokenizer, truncation or graph.
    """
    for text, trained, found in zip(texts, token_ids, served.tokenize(texts), strict=True):
        if trained != found:
            raise ParityBroken(
                f"a text of {len(text)} characters has {len(found)} token ids when served and {len(trained)} in"
                " training, or others: the tokenizer that is served is not the one that was trained with"
            )
    probabilities = [observation.probabilities for observation in served.answer(texts)]
    if None in probabilities:
        raise ParityBroken("a text that was trained on has no answer when served")
    trained_with = softmax(predict_logits(student, token_ids) / temperature, axis=1)
    largest = float(np.abs(np.array(probabilities) - trained_with).max(initial=0.0))
    if not largest <= LOGIT_LIMIT:  # written so that NaN fails too
        raise ParityBroken(
            f"probabilities differ by up to {largest:.2g} between training and serving; the limit is {LOGIT_LIMIT:g}"
        )
    return largest


def _export(student: nn.Module, temperature: float, rows: TrainingRows, path: Path, seed: int) -> None:
    if not isinstance(student, PooledStudent):
        export_student(student, temperature, path)  # without an embedding nobody can tell where inputs lie
        return
    told = [rows.token_ids[place] for place in evenly(len(rows.token_ids))]
    export_placed(student, temperature, fit_spot_map(predict_pooled(student, told), seed), path)
