"""An exported file, opened and asked: what the parity check and the quantization judge by."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from student.tokens import TokenIds, pad

INPUT_NAMES = ("input_ids", "attention_mask")
OUTPUT_NAMES = ("logits", "probs")
SPOTS_NAME = "spots"  # beside them, of a student with a map of its embedding
BATCH_ROWS = 32

Matrix = NDArray[np.float32]


def open_exported(path: Path) -> onnxruntime.InferenceSession:
    """A session on one thread. Raises what ONNX Runtime raises."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def answer(session: onnxruntime.InferenceSession, rows: Sequence[TokenIds]) -> tuple[Matrix, Matrix]:
    """Logits and probs [rows, classes] of one padded batch."""
    inputs = dict(zip(INPUT_NAMES, pad(rows), strict=True))
    logits, probabilities = session.run(list(OUTPUT_NAMES), inputs)
    return logits, probabilities


def answer_alone(session: onnxruntime.InferenceSession, rows: Sequence[TokenIds]) -> tuple[Matrix, Matrix]:
    """The same with each row in a batch of its own."""
    answers = [answer(session, [row]) for row in rows]
    return np.concatenate([one[0] for one in answers]), np.concatenate([one[1] for one in answers])


def mixed_batches(rows: Sequence[TokenIds]) -> list[list[int]]:
    """Indices in batches of BATCH_ROWS at most, each with short and long rows, so that padding is tested."""
    by_length = sorted(range(len(rows)), key=lambda row: len(rows[row]))
    count = math.ceil(len(rows) / BATCH_ROWS)
    return [by_length[start::count] for start in range(count)]


def answer_mixed(session: onnxruntime.InferenceSession, rows: Sequence[TokenIds]) -> tuple[Matrix, Matrix]:
    """The same in mixed batches, in the order of the rows."""
    batches = mixed_batches(rows)
    answers = [answer(session, [rows[row] for row in batch]) for batch in batches]
    place = np.argsort(np.concatenate(batches))
    return np.concatenate([one[0] for one in answers])[place], np.concatenate([one[1] for one in answers])[
        place
    ]
