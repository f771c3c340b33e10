"""An artifact's files, and that the student process answers with them as training did."""

from pathlib import Path

import numpy as np
import pytest
import torch

from distill.curation.rows import Row
from distill.training.encode import load_tokenizer, tokenizer_file
from distill.training.encoded_rows import encoded, said_by
from distill.training.export import ParityBroken
from distill.training.finish import calibrate_and_export
from distill.training.losses import Said
from distill.training.served import check_served
from distill.training.static_student import StaticStudent
from distill.training.training_rows import TrainingRows
from ledger.artifacts import seal
from ledger.configuration import StudentSection
from ledger.observation import Observation, hard_label
from student.session import Student
from student.tokens import head_first
from tests.artifacts import plain_manifest
from tests.distill.encoders import VOCABULARY, build_rows, write_encoder, write_text

TEXTS = [
    *(write_text(number)[0] for number in range(40)),
    "goal " * 25_000,  # 125 kB
    "",
    "ein Satz in einer anderen Sprache",
    "目的 \u202e 🏁",
]


def encode(texts: list[str], tokenizer_folder: Path) -> TrainingRows:
    tokens = head_first(load_tokenizer(tokenizer_file(str(tokenizer_folder)), 16), 16)
    return TrainingRows(
        tuple(tokens.rows(texts)),
        np.tile(np.array([[0.9, 0.1]], dtype=np.float32), (len(texts), 1)),
        np.ones(len(texts), dtype=np.float32),
    )


def build_student() -> StaticStudent:
    torch.manual_seed(0)
    return StaticStudent(torch.randn(len(VOCABULARY), 8), classes=2, hidden=8).eval()


def write_artifact(folder: Path) -> tuple[Student, TrainingRows, float]:
    encoder = write_encoder(folder / "encoder")
    rows, tokenizer = encode(TEXTS, encoder), load_tokenizer(tokenizer_file(str(encoder)), 16)
    parts = build_rows(0, 60), rows, build_rows(500, 210)
    exported = calibrate_and_export(build_student(), tokenizer, *parts, folder / "artifact")
    digest = seal(folder / "artifact", plain_manifest(("a", "b"), max_tokens=16))
    student = Student.load(folder / "artifact", digest, StudentSection())
    return student, rows, exported.calibration.temperature


def test_serving_answers_as_training_did(tmp_path: Path) -> None:
    """Ids and probabilities, of short texts, of one of 125 kB, of none and of unknown letters."""
    served, rows, temperature = write_artifact(tmp_path)
    assert check_served(served, build_student(), temperature, TEXTS, rows.token_ids) < 1e-5


def test_another_tokenizer_is_found_out(tmp_path: Path) -> None:
    """Training that cut elsewhere had other ids, and the sentence says how many."""
    served, rows, temperature = write_artifact(tmp_path)
    cut = [row[:6] for row in rows.token_ids]
    with pytest.raises(ParityBroken, match="the tokenizer that is served is not the one"):
        check_served(served, build_student(), temperature, TEXTS, cut)


def test_another_temperature_is_found_out(tmp_path: Path) -> None:
    """The same logits at another temperature are other probabilities."""
    served, rows, temperature = write_artifact(tmp_path)
    with pytest.raises(ParityBroken, match="between training and serving"):
        check_served(served, build_student(), temperature + 0.5, TEXTS, rows.token_ids)


def build_row(teacher: Observation, **fields: float) -> Row:
    row = Row("d", "g0-1", 0, 0, "disk", teacher, (), 1.0, 1)
    return Row(**{**{name: getattr(row, name) for name in row.__slots__}, **fields})  # type: ignore[arg-type]


def test_an_answer_has_the_kind_that_its_dialect_gave_it() -> None:
    """A class alone; some classes of a list; a whole distribution, whatever it gave to no class."""
    assert said_by(hard_label(1, 3)) is Said.CLASS
    assert said_by(Observation((0.7, 0.3, 0.0), None, False, 0.2)) is Said.LISTED
    assert said_by(Observation((0.7, 0.2, 0.1), None, False, 0.2)) is Said.DISTRIBUTION
    assert said_by(Observation((1.0, 0.0, 0.0))) is Said.DISTRIBUTION


def test_rows_weigh_what_they_stand_for(tmp_path: Path) -> None:
    """One over the probability of being asked, the root of the repeats, and no more than ten."""
    teacher = Observation((0.9, 0.1))
    rows = [
        build_row(teacher),
        build_row(teacher, inclusion=0.25, repeats=4),
        build_row(teacher, inclusion=0.01),
    ]
    tokens = head_first(load_tokenizer(tokenizer_file(str(write_encoder(tmp_path))), 16), 16)
    assert encoded(rows, tokens).weights.tolist() == [1.0, 8.0, 10.0]
