"""What a training run leaves in its folder, so that a killed one goes on: complete files or none.

checkpoint-N/   weights, optimizer, schedule, random numbers and history after step N
best-N.safetensors   weights of the best evaluation so far
run.json        of which rows, settings and first weights the folder is
cut.json        the step at which time was up
"""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

KEPT = 2  # checkpoints: the newest, and the one before
UNFINISHED = "unfinished"
RUN_FILE, CUT_FILE = "run.json", "cut.json"


class CheckpointNotSaved(Exception):
    """The folder cannot be written, for want of room as a rule; what was saved before stands."""


def learned(student: nn.Module) -> dict[str, Tensor]:
    """Copies of what training changes; frozen tables are most of a small student."""
    frozen = {name for name, weight in student.named_parameters() if not weight.requires_grad}
    return {name: one.detach().clone() for name, one in student.state_dict().items() if name not in frozen}


def weights_digest(student: nn.Module) -> str:
    """SHA-256 of what training changes."""
    digest = hashlib.sha256()
    for name, weight in sorted(learned(student).items()):
        digest.update(f"{name} {weight.dtype} {tuple(weight.shape)}".encode())
        digest.update(weight.contiguous().numpy().tobytes())
    return digest.hexdigest()


def prepare_folder(folder: Path, run: Mapping[str, str]) -> None:
    """Make the folder this run's own: what another run, or another start, left there is removed."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / RUN_FILE
    if path.is_file() and read_json(path) == run:
        return
    for left in folder.iterdir():
        shutil.rmtree(left) if left.is_dir() else left.unlink()
    write_json(path, run)


def last_checkpoint(folder: Path) -> Path | None:
    """The newest complete checkpoint."""
    return max(_checkpoints(folder), key=_step, default=None)


def publish_checkpoint(folder: Path, step: int) -> None:
    """Give the checkpoint that lies in UNFINISHED its name, and remove what is older than the last KEPT."""
    made = folder / UNFINISHED / f"checkpoint-{step}"
    for path in made.iterdir():
        _to_disk(path)
    target = folder / made.name
    shutil.rmtree(target, ignore_errors=True)
    made.rename(target)
    for old in sorted(_checkpoints(folder), key=_step)[:-KEPT]:
        shutil.rmtree(old)


def save_best(folder: Path, step: int, student: nn.Module) -> None:
    with writing(folder):
        unfinished = folder / f".best-{step}"
        save_file(learned(student), unfinished)
        unfinished.rename(folder / f"best-{step}.safetensors")


def load_best(folder: Path, step: int, student: nn.Module) -> None:
    student.load_state_dict(load_file(folder / f"best-{step}.safetensors"), strict=False)


def forget_best_before(folder: Path, step: int) -> None:
    """Remove the best weights of earlier steps. Later ones may be of a run that went further than its checkpoint."""
    for path in folder.glob("best-*.safetensors"):
        if _step(path) < step:
            path.unlink()


def write_json(path: Path, document: object) -> None:
    with writing(path.parent):
        unfinished = path.with_name(f".{path.name}")
        unfinished.write_text(json.dumps(document, indent=1), encoding="utf-8")
        unfinished.rename(path)


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Tell a write that failed from whatever else may fail in training."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        raise CheckpointNotSaved(_sentence(folder, error)) from error
    except RuntimeError as error:
        if "PytorchStreamWriter" not in str(error):
            raise
        raise CheckpointNotSaved(_sentence(folder, error)) from error


def _sentence(folder: Path, error: Exception) -> str:
    free = shutil.disk_usage(folder).free // 2**20
    return (
        f"{folder} could not be written ({error}); {free} MiB are free there. Make room and resume: training goes"
        " on from the checkpoint before"
    )


def _checkpoints(folder: Path) -> list[Path]:
    return [path for path in folder.glob("checkpoint-*") if path.is_dir()]


def _step(path: Path) -> int:
    found = re.search(r"-(\d+)", path.name)
    assert found is not None
    return int(found[1])


def _to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
