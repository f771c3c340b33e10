"""From trained weights to an artifact's files: temperature, ONNX, tokenizer, and the weights themselves."""

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from torch import nn

from distill.training.calibrate import Calibration, fit_temperature
from distill.training.checkpoints import learned
from distill.training.encode import save_tokenizer
from distill.training.export import check_parity, export_placed, export_student
from distill.training.pooled_student import PooledStudent
from distill.training.predict import predict_logits, predict_pooled
from distill.training.spot_map import evenly, fit_spot_map
from distill.training.training_rows import TrainingRows
from ledger.artifacts import MODEL_FILE, WEIGHTS_FILE

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


def _export(student: nn.Module, temperature: float, rows: TrainingRows, path: Path, seed: int) -> None:
    if not isinstance(student, PooledStudent):
        export_student(student, temperature, path)  # without an embedding nobody can tell where inputs lie
        return
    told = [rows.token_ids[place] for place in evenly(len(rows.token_ids))]
    export_placed(student, temperature, fit_spot_map(predict_pooled(student, told), seed), path)
