"""Regions and bands of a student's embedding, and that its file tells them."""

from pathlib import Path

import numpy as np
import onnxruntime
import torch

from distill.training.export import check_parity, export_placed
from distill.training.predict import predict_pooled
from distill.training.spot_map import ROWS, Matrix, SpotMap, evenly, fit_spot_map
from distill.training.static_student import StaticStudent
from ledger.spots import BAND_SHARES, BANDS, REGIONS
from student.tokens import pad
from tests.distill.encoders import VOCABULARY, build_rows

TEXTS = build_rows(0, 300).token_ids


def told(spot_map: SpotMap, pooled: Matrix) -> np.ndarray:
    with torch.inference_mode():
        return np.asarray(spot_map(torch.from_numpy(pooled)).numpy())


def clusters(rows: int, count: int) -> tuple[Matrix, np.ndarray]:
    """`count` heaps far apart in eight dimensions of very unequal size, and the heap of each row."""
    chance = np.random.default_rng(3)
    heap = np.arange(rows) % count
    centres = 20 * chance.normal(size=(count, 8))
    points = (centres[heap] + chance.normal(size=(rows, 8))) * 10.0 ** np.arange(-3, 5)
    return points.astype(np.float32), heap


def test_heaps_far_apart_are_regions() -> None:
    """No region holds inputs of two heaps, whatever the units of the embedding's dimensions."""
    pooled, heap = clusters(1000, 6)
    regions = told(fit_spot_map(pooled, seed=0), pooled)[:, 0]
    assert all(len(set(heap[regions == region])) == 1 for region in set(regions))
    assert regions.max() < REGIONS


def test_bands_hold_the_shares_of_training_rows_that_they_name() -> None:
    """As many lie below each edge, but for one row on either side of it."""
    pooled, _ = clusters(2000, 6)
    bands = told(fit_spot_map(pooled, seed=0), pooled)[:, 1]
    below = [(bands <= band).mean() for band in range(BANDS - 1)]
    assert np.allclose(below, BAND_SHARES, atol=0.005)


def test_what_no_training_row_resembles_lies_in_the_last_band() -> None:
    """Two widths beyond the farthest heap."""
    pooled, _ = clusters(1000, 6)
    spot_map = fit_spot_map(pooled, seed=0)
    assert set(told(spot_map, pooled.max(axis=0, keepdims=True) + 2 * np.ptp(pooled, axis=0))[:, 1]) == {
        BANDS - 1
    }


def test_the_same_rows_make_the_same_map() -> None:
    """Down to the bit; few rows make few regions, and equal ones a single place."""
    pooled, _ = clusters(400, 6)
    first, second = (fit_spot_map(pooled, seed=0).state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert len(fit_spot_map(pooled[:19], seed=0).get_buffer("centres")) == 1
    assert told(fit_spot_map(np.ones((100, 4), np.float32), seed=0), np.ones((2, 4), np.float32)).shape == (
        2,
        2,
    )


def test_rows_are_taken_from_all_of_the_training_rows() -> None:
    """The first and the last among them, none twice."""
    assert evenly(3) == [0, 1, 2]
    many = evenly(10 * ROWS)
    assert (len(many), len(set(many)), many[0], many[-1]) == (ROWS, ROWS, 0, 10 * ROWS - 1)


def test_the_file_tells_what_the_map_says(tmp_path: Path) -> None:
    """In a padded batch, of texts of every length, beside answers that are the student's own."""
    torch.manual_seed(0)
    student = StaticStudent(torch.randn(len(VOCABULARY), 8), classes=2, hidden=8)
    pooled = predict_pooled(student, TEXTS)
    spot_map = fit_spot_map(pooled, seed=0)
    export_placed(student, 1.7, spot_map, tmp_path / "model.onnx")

    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"])
    ids, mask = pad(TEXTS)
    (spots,) = session.run(["spots"], {"input_ids": ids, "attention_mask": mask})
    assert spots.dtype == np.int64
    assert (spots == told(spot_map, pooled)).all(axis=1).mean() > 0.99  # but for ties to the last digits
    assert check_parity(student, 1.7, tmp_path / "model.onnx", TEXTS).argmax_agreement == 1.0
