"""The rungs beside bags of vectors and trained layers: baseline, frozen encoder, a module of the user's own."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from distill.training.custom_student import NoSuchFactory, custom_student
from distill.training.encode import load_tokenizer, tokenizer_file
from distill.training.export import check_parity, export_placed, export_student
from distill.training.frozen_student import cached, frozen_student
from distill.training.linear_student import LinearStudent, fit_linear
from distill.training.predict import predict_logits, predict_pooled
from distill.training.rungs import train_rung, untrained
from distill.training.settings import TrainSettings
from distill.training.spot_map import fit_spot_map
from distill.training.train import Fitted, StopReason
from distill.training.training_rows import TrainingRows
from distill.training.transformer_student import load_encoder
from ledger.configuration import CandidateSection
from tests.distill.encoders import VOCABULARY, build_rows, write_encoder

SETTINGS = TrainSettings(learning_rate=1e-2, epochs=8, batch_rows=16, threads=1)
HERE = "tests.distill.training.test_rungs"


class Counting(nn.Module):
    """A student of somebody's own: it counts tokens, and has no embedding to speak of."""

    def __init__(self, vocabulary: int, classes: int) -> None:
        super().__init__()
        self.weights = nn.Embedding(vocabulary, classes)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        counted: Tensor = (self.weights(input_ids) * attention_mask.unsqueeze(-1)).sum(dim=1)
        return counted


def make_student(encoder: str, vocabulary: int, classes: int) -> nn.Module:
    """What a user's module offers to `factory`."""
    assert encoder
    return Counting(vocabulary, classes)


def make_nothing(encoder: str, vocabulary: int, classes: int) -> None:
    """A factory that forgot to return."""


def section(kind: str, encoder: str, **keys: object) -> CandidateSection:
    return CandidateSection.model_validate({"kind": kind, "encoder": encoder, "max_tokens": 16, **keys})


def agreement(student: nn.Module, rows: TrainingRows) -> float:
    logits = predict_logits(student, rows.token_ids)
    return float((logits.argmax(axis=1) == rows.teacher_probabilities.argmax(axis=1)).mean())


@pytest.mark.parametrize(
    ("kind", "keys"), [("linear", {}), ("frozen", {}), ("custom", {"factory": f"{HERE}:make_student"})]
)
def test_every_rung_learns_and_is_exported(tmp_path: Path, kind: str, keys: dict[str, str]) -> None:
    """Unseen texts get the teacher's class, from the file as from the module."""
    encoder = str(write_encoder(tmp_path / "encoder"))
    torch.manual_seed(0)
    tokenizer = load_tokenizer(tokenizer_file(encoder), 16)
    student = untrained(section(kind, encoder, **keys), tokenizer, 2, None)
    fitted = train_rung(student, build_rows(0, 300), build_rows(500, 60), SETTINGS, tmp_path / "training")
    later = build_rows(1000, 100)
    assert isinstance(fitted, Fitted)
    assert fitted.best is not None
    assert agreement(student, later) > 0.9
    assert fitted.best.dev_fidelity == pytest.approx(agreement(student, build_rows(500, 60)))
    export_student(student, 1.0, tmp_path / "model.onnx")
    parity = check_parity(student, 1.0, tmp_path / "model.onnx", later.token_ids)
    assert parity.argmax_agreement == 1.0


def test_the_baseline_is_scikit_learns_fit_of_soft_targets(tmp_path: Path) -> None:
    """A token that says nothing weighs nothing; the same rows give the same weights; spots are told too."""
    students = [LinearStudent(len(VOCABULARY), 2) for _ in range(2)]
    nll = [fit_linear(one, build_rows(0, 300), build_rows(500, 60)) for one in students]
    assert nll[0] == nll[1] == pytest.approx(0.325, abs=0.03)  # the entropy of (0.9, 0.1)
    first, second = (one.weights.weight for one in students)
    assert torch.equal(first, second)
    told = (first[:, 1] - first[:, 0]).detach()
    assert told[VOCABULARY["goal"]] > 1 > -1 > told[VOCABULARY["disk"]]
    assert abs(told[VOCABULARY["the"]]) < 0.5
    rows = build_rows(1000, 100).token_ids
    spots = fit_spot_map(predict_pooled(students[0], rows), 0)
    export_placed(students[0], 1.0, spots, tmp_path / "model.onnx")
    assert check_parity(students[0], 1.0, tmp_path / "model.onnx", rows).batch_invariance <= 1e-5


def test_the_baseline_knows_classes_that_no_row_had() -> None:
    """A third class that the teacher never said is the least probable, and does not break the fit."""
    rows, dev = (
        TrainingRows(
            one.token_ids, np.pad(one.teacher_probabilities, ((0, 0), (0, 1))).astype(np.float32), one.weights
        )
        for one in (build_rows(0, 200), build_rows(500, 60))
    )
    student = LinearStudent(len(VOCABULARY), 3)
    fit_linear(student, rows, dev)
    logits = predict_logits(student, dev.token_ids)
    assert (logits.argmin(axis=1) == 2).all()


def test_a_frozen_encoder_stays_as_it_is_and_leaves_no_embeddings(tmp_path: Path) -> None:
    """The head alone moves; no file of the training folder is as large as the embeddings would be."""
    encoder = load_encoder(str(write_encoder(tmp_path / "encoder")))
    student = frozen_student(encoder, classes=2)
    before = {name: one.clone() for name, one in student.encoder.state_dict().items()}
    fitted = train_rung(student, build_rows(0, 300), build_rows(500, 60), SETTINGS, tmp_path / "training")
    assert isinstance(fitted, Fitted)
    assert all(torch.equal(before[name], one) for name, one in student.encoder.state_dict().items())
    weights = next((tmp_path / "training").glob("best-*.safetensors")).read_bytes()
    assert b"embeddings" not in weights
    head_only, rows, dev = cached(student, build_rows(0, 3), build_rows(500, 2))
    assert [row[0] for row in (*rows.token_ids, *dev.token_ids)] == [0, 1, 2, 3, 4]
    assert np.allclose(
        predict_logits(head_only, dev.token_ids),
        predict_logits(student, build_rows(500, 2).token_ids),
        atol=1e-6,
    )


@pytest.mark.parametrize(
    ("factory", "says"),
    [
        ("no_such_module:make", "No module named"),
        (f"{HERE}:no_such_function", "no attribute"),
        (f"{HERE}:make_nothing", "made a NoneType"),
    ],
)
def test_a_factory_that_makes_no_student_is_refused(factory: str, says: str) -> None:
    """The sentence says what is wrong and where modules are looked for."""
    with pytest.raises(NoSuchFactory, match=says):
        custom_student(factory, "encoder", 10, 2)


def test_a_baseline_takes_no_steps(tmp_path: Path) -> None:
    """Its fit is one look at the dev rows, complete."""
    fitted = train_rung(
        LinearStudent(len(VOCABULARY), 2), build_rows(0, 100), build_rows(500, 30), SETTINGS, tmp_path
    )
    assert isinstance(fitted, Fitted)
    assert (fitted.stop, fitted.best_step, len(fitted.history)) == (StopReason.COMPLETED, 1, 1)
