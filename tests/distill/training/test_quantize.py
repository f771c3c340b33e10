"""INT8 candidates of a trained student: what they are worth, and that the student process runs them."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from distill.curation.split import Split
from distill.training.encode import load_tokenizer, save_tokenizer, tokenizer_file
from distill.training.export import export_placed
from distill.training.exported import answer_alone, open_exported
from distill.training.judged_rows import MOST_ROWS, JudgedRows, judged_rows
from distill.training.pooled_student import PooledStudent
from distill.training.predict import predict_pooled
from distill.training.processor import int8_flags, saturates
from distill.training.quantize import quantized
from distill.training.quantized import (
    Flips,
    NotUsable,
    Obstacle,
    QuantizedArtifact,
    flips_between,
    obstacle_of,
    quantized_manifest,
)
from distill.training.settings import TrainSettings
from distill.training.spot_map import fit_spot_map
from distill.training.static_student import StaticStudent
from distill.training.train import train
from distill.training.transformer_student import load_encoder, transformer_student
from ledger.artifacts import MODEL_FILE, Manifest, Precision, seal
from ledger.configuration import StudentSection
from student.session import Student
from tests.artifacts import plain_manifest
from tests.distill.encoders import VOCABULARY, build_rows, write_encoder
from tests.distill.training.test_candidates import build_row

ROWS = build_rows(1000, 240)
JUDGED = JudgedRows(
    ROWS.token_ids,
    ROWS.teacher_probabilities,
    np.arange(240) < 210,
    [("all", "even" if row % 2 == 0 else "odd") for row in range(240)],
)


def write_artifact(student: PooledStudent, folder: Path, encoder: Path, temperature: float = 1.3) -> Path:
    """A finished FP32 artifact of a student that learned a little."""
    settings = TrainSettings(learning_rate=3e-3, epochs=4, batch_rows=16, threads=1)
    train(student, build_rows(0, 300), build_rows(500, 60), settings, folder.with_name("training"))
    folder.mkdir()
    spots = fit_spot_map(predict_pooled(student, ROWS.token_ids), 0)
    export_placed(student, temperature, spots, folder / MODEL_FILE)
    save_tokenizer(load_tokenizer(tokenizer_file(str(encoder)), 16), folder)
    return folder


@pytest.fixture(scope="module")
def transformer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("transformer")
    encoder = write_encoder(folder / "encoder", width=128)
    student = transformer_student(load_encoder(str(encoder)), (0, 2), classes=2)
    return write_artifact(student, folder / "artifact", encoder)


@pytest.fixture(scope="module")
def made(transformer: Path) -> tuple[QuantizedArtifact | NotUsable, ...]:
    return quantized(transformer, transformer.with_name("int8"), JUDGED)


def usable(outcome: QuantizedArtifact | NotUsable) -> QuantizedArtifact:
    assert isinstance(outcome, QuantizedArtifact), outcome
    return outcome


def test_a_transformer_has_two_usable_files(made: Sequence[QuantizedArtifact | NotUsable]) -> None:
    """Each at most half as large, with a temperature of its own and hardly another class anywhere."""
    weights, dynamic = map(usable, made)
    assert (weights.precision, dynamic.precision) == (Precision.INT8_WEIGHTS, Precision.INT8_DYNAMIC)
    for one in (weights, dynamic):
        assert one.bytes < one.from_bytes / 2
        assert (one.flips.rows, set(one.flips.by_slice)) == (240, {"all", "even", "odd"})
        assert one.calibration.rows == 210
        assert one.processor == int8_flags()


def test_products_of_weights_in_int8_are_each_rows_own(made: Sequence[QuantizedArtifact | NotUsable]) -> None:
    """Padding changes nothing, so rows may share a run."""
    weights = usable(made[0])
    assert (weights.padding.flips, weights.max_batch) == (0, None)
    assert weights.padding.largest < 1e-3


def test_a_file_whose_answers_depend_on_the_batch_answers_rows_one_by_one(
    made: Sequence[QuantizedArtifact | NotUsable],
) -> None:
    """Dynamic INT8 has one scale for a batch: that shows in probabilities even where no class changes."""
    dynamic = usable(made[1])
    assert dynamic.padding.largest > 1e-3
    assert dynamic.max_batch == 1


def test_the_temperature_is_in_the_graph(made: Sequence[QuantizedArtifact | NotUsable]) -> None:
    """`probs` are the quantized logits at the temperature that was refitted for them, and spots are still told."""
    for one in map(usable, made):
        session = open_exported(one.folder / MODEL_FILE)
        logits, probabilities = answer_alone(session, ROWS.token_ids[:20])
        scaled = torch.softmax(torch.from_numpy(logits) / one.calibration.temperature, dim=1).numpy()
        assert np.allclose(probabilities, scaled, atol=1e-6)
        assert [node.name for node in session.get_outputs()] == ["logits", "probs", "spots"]


def sealed(one: QuantizedArtifact) -> tuple[Path, Manifest, str]:
    source = plain_manifest(("a", "b"), max_tokens=16)
    manifest = quantized_manifest(source, "0" * 64, one)
    return one.folder, manifest, seal(one.folder, manifest)


def test_the_student_process_loads_them(made: Sequence[QuantizedArtifact | NotUsable]) -> None:
    """It answers texts together as it answers them alone, because it obeys the manifest's max_batch."""
    texts = ["disk the screen", "goal", "the of a match player of the a a of the a", "driver driver"]
    for one in map(usable, made):
        folder, manifest, digest = sealed(one)
        student = Student.load(folder, digest, StudentSection())
        assert student.manifest.lineage.quantized_from == "0" * 64
        together, alone = student.answer(texts), [student.answer([text])[0] for text in texts]
        for mixed, single in zip(together, alone, strict=True):
            assert mixed.probabilities == pytest.approx(single.probabilities, abs=1e-4)
            assert mixed.spot == single.spot
        assert manifest.quantization["processor"] == list(int8_flags())


def test_a_bag_of_token_vectors_is_only_smaller(tmp_path: Path) -> None:
    """Its table in INT8 is a quarter; products in INT8 would win nothing, and the sentence says so."""
    encoder = write_encoder(tmp_path / "encoder")
    torch.manual_seed(0)
    student = StaticStudent(torch.randn(20_000, 32), classes=2, hidden=8)
    weights, dynamic = quantized(
        write_artifact(student, tmp_path / "artifact", encoder), tmp_path / "int8", JUDGED
    )
    assert usable(weights).bytes < usable(weights).from_bytes / 2
    assert isinstance(dynamic, NotUsable)
    assert dynamic.obstacle is Obstacle.NO_PRODUCTS
    assert not (tmp_path / "int8" / Precision.INT8_DYNAMIC).exists()


def test_a_second_call_makes_the_same_files(transformer: Path, tmp_path: Path) -> None:
    """Over what a killed one left."""
    (tmp_path / Precision.INT8_WEIGHTS).mkdir()
    (tmp_path / Precision.INT8_WEIGHTS / "torn.onnx").write_bytes(b"torn")
    first, second = (quantized(transformer, tmp_path, JUDGED) for _ in range(2))
    assert first == second
    assert not (tmp_path / Precision.INT8_WEIGHTS / "torn.onnx").exists()


def test_too_many_changed_classes_make_it_unusable(made: Sequence[QuantizedArtifact | NotUsable]) -> None:
    """More than 0.5 % overall, or more than 1 % of a slice; the sentence has the figures, and blames no FP32."""
    weights = usable(made[0])
    within = replace(weights, flips=Flips(1000, 5, {"a": (5, 500)}))
    overall = obstacle_of(replace(weights, flips=Flips(1000, 6, {"a": (6, 1000)})))
    of_slice = obstacle_of(replace(weights, flips=Flips(1000, 5, {"a": (3, 500), "b": (2, 150)})))
    assert obstacle_of(within) is None
    assert overall is not None
    assert of_slice is not None
    assert (overall.obstacle, of_slice.obstacle) == (Obstacle.FLIPS, Obstacle.SLICE_FLIPS)
    assert overall.reason.startswith(
        "6 of 1000 answers are another class than in FP32 (0.60%; the limit is 0.5%)"
    )
    assert of_slice.reason.startswith("2 of 150 answers of b")
    assert of_slice.reason.endswith("FP32 is not affected")


def test_a_file_that_saves_little_is_not_worth_an_artifact(
    made: Sequence[QuantizedArtifact | NotUsable],
) -> None:
    """A fifth of the bytes at least."""
    weights = usable(made[0])
    large = obstacle_of(replace(weights, bytes=9 * weights.from_bytes // 10))
    assert large is not None
    assert large.obstacle is Obstacle.NOT_SMALLER


def test_flips_are_counted_by_slice() -> None:
    """A slice of too few rows is left out: one flip of them would be above any limit."""
    before = np.tile(np.array([[1.0, 0.0]], dtype=np.float32), (150, 1))
    after = before.copy()
    after[:3] = after[:3, ::-1]
    flips = flips_between(before, after, [("a",) if row < 120 else ("b",) for row in range(150)])
    assert (flips.flipped, flips.rows, dict(flips.by_slice)) == (3, 150, {"a": (3, 120)})
    assert replace(flips, rows=0, flipped=0).rate == 0.0


def test_both_kinds_of_held_out_rows_are_judged_and_one_kind_calibrates(transformer: Path) -> None:
    """With few of one kind there is room for more of the other, and the ids are those of serving."""
    rows = [build_row(number) for number in range(MOST_ROWS + 500)]
    judged = judged_rows(Split((), (), tuple(rows[:300]), tuple(rows[300:])), transformer, 16)
    assert (len(judged.token_ids), int(judged.calibrating.sum())) == (MOST_ROWS, MOST_ROWS - 300)
    assert judged.targets.shape == (MOST_ROWS, 2)
    assert judged.slices[0] == rows[300].slices
    assert judged.token_ids[0][0] == VOCABULARY["[CLS]"]


def test_a_processor_without_eight_bit_products_saturates() -> None:
    """On x86 alone; others have no such instructions to overflow."""
    old, new = int8_flags("flags : fpu avx2 fma"), int8_flags("flags : avx2 avx512f avx512_vnni")
    assert (saturates(old, "x86_64"), saturates(new, "x86_64"), saturates((), "aarch64")) == (
        True,
        False,
        False,
    )
