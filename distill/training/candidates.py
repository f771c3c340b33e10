"""One candidate from its section of the configuration: encode, train, calibrate, export, check parity."""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer

from distill.curation.rows import Row
from distill.curation.split import Split
from distill.training.calibrate import Calibration, fit_temperature
from distill.training.encode import load_tokenizer, save_tokenizer, tokenize, tokenizer_file
from distill.training.export import check_parity, export_placed
from distill.training.loss import choose_temperature
from distill.training.pooled_student import PooledStudent
from distill.training.spot_map import evenly, fit_spot_map
from distill.training.static_student import StaticStudent, cached_token_table, token_table
from distill.training.train import (
    TrainedStudent,
    TrainingRows,
    TrainSettings,
    predict_logits,
    predict_pooled,
    train,
)
from distill.training.transformer_student import HEAD_RATE_MULTIPLE, load_encoder, transformer_student
from ledger.artifacts import MODEL_FILE
from ledger.configuration import CandidateSection

THREADS = 2
SEED = 0
MOST_WEIGHT = 10.0  # of a row that the teacher was rarely asked about: more would let single rows steer
PARITY_TEXTS = 1000

Say = Callable[[str, float], None]  # phase, share done


@dataclass(frozen=True, slots=True)
class FittedCandidate:
    """What became of a candidate whose model and tokenizer now lie in its folder."""

    trained: TrainedStudent
    calibration: Calibration
    parity: dict[str, float]
    threads: int
    seed: int


def fit_candidate(
    section: CandidateSection,
    split: Split,
    classes: Sequence[str],
    folder: Path,
    say: Say,
    cache: Path | None = None,
) -> FittedCandidate:
    """Train the candidate on the split's rows and write its files into `folder`. Raises ParityBroken.

    What depends on the encoder alone is kept in `cache`, where one is given, for later jobs.
    """
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(THREADS)
    torch.manual_seed(SEED)
    say(f"preparing {section.kind}", 0.0)
    tokenizer = load_tokenizer(tokenizer_file(section.encoder), section.max_tokens)
    student = _untrained(section, tokenizer, len(classes), cache)
    rows, dev, held_out = (_encoded(part, tokenizer) for part in (split.train, split.dev, split.calibration))
    trained = train(student, rows, dev, _settings(section, rows), _told(say, section.kind))
    calibration = fit_temperature(predict_logits(student, held_out.token_ids), held_out.teacher_probabilities)
    say(f"exporting {section.kind}", 0.0)
    told = [rows.token_ids[place] for place in evenly(len(rows.token_ids))]
    spot_map = fit_spot_map(predict_pooled(student, told), SEED)
    export_placed(student, calibration.temperature, spot_map, folder / MODEL_FILE)
    save_tokenizer(tokenizer, folder)
    texts = (*dev.token_ids, *held_out.token_ids)[:PARITY_TEXTS]
    parity = check_parity(student, calibration.temperature, folder / MODEL_FILE, texts)
    return FittedCandidate(trained, calibration, asdict(parity), THREADS, SEED)


def _untrained(
    section: CandidateSection, tokenizer: Tokenizer, classes: int, cache: Path | None
) -> PooledStudent:
    encoder = load_encoder(section.encoder)
    if section.kind == "transformer":
        return transformer_student(encoder, section.layers, classes)
    special_ids = tokenizer.encode("").ids
    if cache is None:
        return StaticStudent(token_table(encoder, special_ids), classes)
    return StaticStudent(cached_token_table(encoder, special_ids, cache), classes)


def _settings(section: CandidateSection, rows: TrainingRows) -> TrainSettings:
    settings = TrainSettings(
        learning_rate=section.learning_rate,
        epochs=section.epochs,
        batch_rows=section.batch_rows,
        temperature=choose_temperature(rows.teacher_probabilities),
        seed=SEED,
        threads=THREADS,
        budget_seconds=section.budget_seconds,
    )
    if section.kind == "transformer":
        return replace(settings, head_rate_multiple=HEAD_RATE_MULTIPLE)
    return settings


def _encoded(rows: Sequence[Row], tokenizer: Tokenizer) -> TrainingRows:
    return TrainingRows(
        token_ids=tuple(tokenize(tokenizer, [row.text for row in rows])),
        teacher_probabilities=np.array([row.teacher.probabilities for row in rows], dtype=np.float32),
        weights=np.array([_weight(row) for row in rows], dtype=np.float32),
    )


def _weight(row: Row) -> float:
    """Rows asked about rarely stand for more of the traffic; repeats count by their square root."""
    return min(MOST_WEIGHT, row.emphasis * math.sqrt(row.repeats) / row.inclusion)


def _told(say: Say, kind: str) -> Callable[[int, int, float], None]:
    def tell(step: int, steps: int, dev_nll: float) -> None:
        say(f"training {kind} (held-out loss {dev_nll:.3f} nats)", step / steps)

    return tell
