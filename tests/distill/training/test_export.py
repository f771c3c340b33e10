"""The exported file and its check against the trained student."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from scipy.special import softmax
from torch import Tensor, nn

from distill.training.export import ParityBroken, check_parity, export_student
from distill.training.predict import predict_logits
from distill.training.static_student import StaticStudent
from distill.training.transformer_student import load_encoder, transformer_student
from tests.distill.encoders import VOCABULARY, build_rows, write_encoder

TEMPERATURE = 1.7
ROWS = build_rows(0, 70).token_ids


def build_static() -> StaticStudent:
    torch.manual_seed(0)
    return StaticStudent(torch.randn(len(VOCABULARY), 8), classes=2, hidden=8)


@pytest.fixture(scope="module")
def static_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("static") / "model.onnx"
    export_student(build_static(), TEMPERATURE, path)
    return path


def build_transformer(folder: Path) -> nn.Module:
    return transformer_student(load_encoder(str(write_encoder(folder))), (0, 2), classes=2)


def test_a_static_student_keeps_its_answers(static_file: Path) -> None:
    """Over 70 texts of several lengths, alone and padded."""
    parity = check_parity(build_static(), TEMPERATURE, static_file, ROWS)
    assert parity.max_abs_logit_difference <= 1e-4
    assert parity.batch_invariance <= 1e-5
    assert (parity.argmax_agreement, parity.rows) == (1.0, 70)


def test_a_transformer_student_keeps_its_answers(tmp_path: Path) -> None:
    """The same for attention, whose mask is the part that exports get wrong."""
    student, path = build_transformer(tmp_path), tmp_path / "model.onnx"
    export_student(student, TEMPERATURE, path)
    assert check_parity(student, TEMPERATURE, path, ROWS).argmax_agreement == 1.0


def test_the_file_is_one_file_that_names_its_dynamic_axes(static_file: Path) -> None:
    """Inputs are int64 [batch, seq], outputs logits and probs, and no weights lie outside."""
    graph = onnx.load(str(static_file), load_external_data=False).graph
    axes = {
        node.name: [axis.dim_param or axis.dim_value for axis in node.type.tensor_type.shape.dim]
        for node in (*graph.input, *graph.output)
    }
    both = ["batch", "seq"]
    assert axes == {"input_ids": both, "attention_mask": both, "logits": ["batch", 2], "probs": ["batch", 2]}
    assert [path.name for path in static_file.parent.iterdir()] == ["model.onnx"]


def test_probs_are_the_logits_at_the_calibrated_temperature(static_file: Path) -> None:
    """Calibration is part of the file, so that nobody can forget it."""
    session = onnxruntime.InferenceSession(str(static_file), providers=["CPUExecutionProvider"])
    inputs = {"input_ids": np.array([ROWS[0]]), "attention_mask": np.ones((1, len(ROWS[0])), np.int64)}
    logits, probabilities = session.run(["logits", "probs"], inputs)
    assert np.allclose(logits, predict_logits(build_static(), ROWS[:1]), atol=1e-5)
    assert np.allclose(probabilities, softmax(logits / TEMPERATURE, axis=1), atol=1e-6)


def test_exporting_leaves_the_student_as_it_was(tmp_path: Path) -> None:
    """The exporter works on a copy: mode and weights stay."""
    student = build_static().train()
    before = {name: weight.clone() for name, weight in student.state_dict().items()}
    export_student(student, TEMPERATURE, tmp_path / "model.onnx")
    assert student.training
    assert all(torch.equal(before[name], weight) for name, weight in student.state_dict().items())


def test_a_file_of_other_weights_breaks_parity(static_file: Path) -> None:
    """The message says how far the logits are apart."""
    torch.manual_seed(9)
    other = StaticStudent(torch.randn(len(VOCABULARY), 8), classes=2, hidden=8)
    with pytest.raises(ParityBroken, match="logits differ by up to"):
        check_parity(other, TEMPERATURE, static_file, ROWS)


def test_a_file_with_another_temperature_breaks_parity(static_file: Path) -> None:
    """Equal logits do not excuse other probabilities."""
    with pytest.raises(ParityBroken, match="probs differ by up to"):
        check_parity(build_static(), 1.0, static_file, ROWS)


class SeesPadding(nn.Module):
    """A student with a fault: its answer depends on the longest text of the batch."""

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        lengths = attention_mask.sum(dim=1, keepdim=True).float()
        width = torch.ones_like(input_ids).sum(dim=1, keepdim=True).float()
        return torch.cat([lengths, width], dim=1)


def test_a_student_that_sees_padding_is_refused(tmp_path: Path) -> None:
    """The file answers like the module, but a row alone differs from the same row in a batch."""
    path = tmp_path / "model.onnx"
    export_student(SeesPadding(), 1.0, path)
    with pytest.raises(ParityBroken, match="padding a row among others"):
        check_parity(SeesPadding(), 1.0, path, ROWS)


def test_a_foreign_graph_is_refused_by_its_names(tmp_path: Path) -> None:
    """An identity graph has neither our inputs nor our outputs."""
    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n"])
    answer = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["n"])
    node = onnx.helper.make_node("Identity", ["x"], ["y"])
    graph = onnx.helper.make_graph([node], "identity", [value], [answer])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=10)
    onnx.save(model, str(tmp_path / "model.onnx"))
    with pytest.raises(ParityBroken, match=r"inputs \('x',\)"):
        check_parity(build_static(), 1.0, tmp_path / "model.onnx", ROWS)
