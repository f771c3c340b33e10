"""INT8 candidates of a finished FP32 student: two files, each judged for itself, neither ever in the student's way.

Weight-only scales activations within a row, block by block, so that a row's answer is its own. Dynamic takes one
scale for the activations of a whole batch: who else is in it, and its padding, move the answer
(microsoft/onnxruntime#10111), so such a file answers rows one by one where that shows.
"""

import logging
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
from onnxruntime.quantization import quantize_dynamic
from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer
from onnxruntime.quantization.shape_inference import quant_pre_process

from distill.training.calibrate import fit_temperature
from distill.training.exported import Matrix, answer_alone, answer_mixed, open_exported
from distill.training.judged_rows import JudgedRows
from distill.training.processor import int8_flags, saturates
from distill.training.quantized import (
    NotUsable,
    Obstacle,
    Padding,
    QuantizedArtifact,
    flips_between,
    obstacle_of,
)
from distill.training.served_graph import (
    look_up_in_int8,
    nodes_of_spots,
    set_temperature,
    weights_by_operator,
    without_stale_shapes,
)
from ledger.artifacts import MODEL_FILE, TOKENIZER_FILE, Precision
from student.tokens import TokenIds

PADDED_ROWS = 256  # looked at for what padding does
PRODUCTS = ("MatMul", "Gemm")
BLOCK = 32  # weights that share a scale
INT8_PRODUCTS = 4  # accuracy_level of MatMulNBits: activations in INT8 too, a scale a block

_NO_PRODUCTS = (
    "nearly all of its weights are looked up, not multiplied: INT8 products would change its answers and make"
    " nothing faster"
)

QUANTIZED = (Precision.INT8_WEIGHTS, Precision.INT8_DYNAMIC)  # in the order in which they are judged


def quantized(artifact: Path, folder: Path, judged: JudgedRows) -> tuple[QuantizedArtifact | NotUsable, ...]:
    """One outcome for each of QUANTIZED: the FP32 `artifact` gets a folder a precision below `folder`.

    Called again after it was killed it begins anew, and makes the same files. Rows cost the student's time on one
    thread four times over; a thousand do.
    """
    reference, _ = answer_alone(open_exported(artifact / MODEL_FILE), judged.token_ids)
    return tuple(_made(one, artifact, folder / one, judged, reference) for one in QUANTIZED)


def _made(
    precision: Precision, artifact: Path, folder: Path, judged: JudgedRows, reference: Matrix
) -> QuantizedArtifact | NotUsable:
    shutil.rmtree(folder, ignore_errors=True)  # of a run that was killed
    folder.mkdir(parents=True)
    source, target = artifact / MODEL_FILE, folder / MODEL_FILE
    try:
        with _quiet_quantizer():
            obstacle = _write(precision, source, target)
    except Exception as error:  # the quantizers share no base but this
        obstacle = NotUsable(precision, Obstacle.QUANTIZER_FAILED, f"ONNX Runtime's quantizer: {error}")
    if obstacle is None:
        shutil.copyfile(artifact / TOKENIZER_FILE, folder / TOKENIZER_FILE)
        found = _judged(precision, source, folder, judged, reference)
        obstacle = obstacle_of(found)
        if obstacle is None:
            return found
    shutil.rmtree(folder)
    return obstacle


def _write(precision: Precision, source: Path, target: Path) -> NotUsable | None:
    """Quantize the file. None, or why that is not worth it."""
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        ready = Path(scratch) / "ready.onnx"
        # symbolic shape inference fails on graphs of the dynamo exporter
        quant_pre_process(source, ready, skip_symbolic_shape=True)
        model = without_stale_shapes(onnx.load(ready))
        looked_up = weights_by_operator(model, ("Gather",))
        if precision is Precision.INT8_DYNAMIC and weights_by_operator(model, PRODUCTS) < looked_up / 10:
            return NotUsable(precision, Obstacle.NO_PRODUCTS, _NO_PRODUCTS)
        # tables first: MatMulNBits has lookups in four bits alone
        _quantize_products(precision, look_up_in_int8(model), target)
    return None


def _quantize_products(precision: Precision, model: onnx.ModelProto, target: Path) -> None:
    spots = nodes_of_spots(model)
    if precision is Precision.INT8_WEIGHTS:
        quantizer = MatMulNBitsQuantizer(
            model, bits=8, block_size=BLOCK, accuracy_level=INT8_PRODUCTS, nodes_to_exclude=spots
        )
        quantizer.process()
        onnx.save(quantizer.model.model, target)
        return
    quantize_dynamic(
        model,
        target,
        op_types_to_quantize=list(PRODUCTS),
        per_channel=True,
        reduce_range=saturates(int8_flags()),
        nodes_to_exclude=spots,
    )


def _judged(
    precision: Precision, source: Path, folder: Path, judged: JudgedRows, reference: Matrix
) -> QuantizedArtifact:
    """Give the file a temperature of its own and compare its answers."""
    path = folder / MODEL_FILE
    alone, _ = answer_alone(open_exported(path), judged.token_ids)
    calibration = fit_temperature(alone[judged.calibrating], judged.targets[judged.calibrating])
    onnx.save(set_temperature(onnx.load(path), calibration.temperature), path)
    return QuantizedArtifact(
        precision,
        folder,
        calibration,
        flips_between(reference, alone, judged.slices),
        _padding(path, judged.token_ids),
        path.stat().st_size,
        source.stat().st_size,
        int8_flags(),
    )


def _padding(path: Path, token_ids: Sequence[TokenIds]) -> Padding:
    session = open_exported(path)
    spread = np.unique(np.linspace(0, len(token_ids) - 1, min(len(token_ids), PADDED_ROWS)).astype(int))
    rows = [token_ids[row] for row in spread]
    (logits, alone), (mixed, padded) = answer_alone(session, rows), answer_mixed(session, rows)
    flips = int((logits.argmax(axis=1) != mixed.argmax(axis=1)).sum())
    return Padding(flips, len(rows), float(np.abs(alone - padded).max(initial=0.0)))


@contextmanager
def _quiet_quantizer() -> Iterator[None]:
    """Hide notes of the quantizer that go to the root logger: on operators that it leaves alone, by design."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        root.setLevel(level)
