"""A small training run in a process of its own, which may be killed, run out of room, or be one of several.

python -m tests.distill.training.small_run FOLDER [--die-at STEP] [--most-bytes BYTES]
"""

import argparse
import json
import os
import resource
import signal
from pathlib import Path

import torch
from torch import Tensor

from distill.training.checkpoints import CheckpointNotSaved
from distill.training.settings import TrainSettings
from distill.training.static_student import StaticStudent
from distill.training.train import Fitted, train
from tests.distill.encoders import VOCABULARY, build_rows

SETTINGS = TrainSettings(
    learning_rate=1e-2, epochs=6, batch_rows=16, threads=1, save_seconds=0.0, evaluations_per_epoch=2
)


class Mortal(StaticStudent):
    """A student whose process is killed in the middle of a step."""

    die_at: int | None = None
    steps = 0

    def pooled(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        self.steps += self.training
        if self.steps == self.die_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().pooled(input_ids, attention_mask)


def run(folder: Path, die_at: int | None = None) -> Fitted:
    """Train in the folder; `die_at` counts the steps of this call."""
    torch.manual_seed(1)
    student = Mortal(torch.randn(len(VOCABULARY), 8), classes=2, hidden=8)
    student.die_at = die_at
    fitted = train(student, build_rows(0, 150), build_rows(500, 60), SETTINGS, folder)
    assert isinstance(fitted, Fitted)
    return fitted


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--die-at", type=int)
    parser.add_argument("--most-bytes", type=int)
    options = parser.parse_args()
    if options.most_bytes is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (options.most_bytes, options.most_bytes))
    try:
        fitted = run(options.folder, options.die_at)
    except CheckpointNotSaved as error:
        print(f"not saved: {error}")  # noqa: T201
        return
    assert fitted.best is not None
    if os.environ.get("RANK", "0") == "0":
        told = {"nll": fitted.best.dev_nll, "fidelity": fitted.best.dev_fidelity, "stop": fitted.stop}
        print(json.dumps(told))  # noqa: T201


if __name__ == "__main__":
    main()
