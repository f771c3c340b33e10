"""The stages of a job: a folder each, named by the hash of what went in, and done once.

A stage whose folder says that it is done is not done again, so a job that was killed goes on where it was. What
went in includes what the stages before it gave, so a changed row, setting or release begins a new folder.
"""

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

import orjson

from ledger.job_folders import write_whole

DONE_FILE = "done.json"
KEY_LENGTH = 12  # hex digits of the hash in the folder's name


class Stage(StrEnum):
    """In the order in which they run; the last four run once for each candidate."""

    PLAN = "plan"
    INGEST = "ingest"
    CURATE = "curate"
    SPLIT = "split"
    AUDIT = "audit"
    TRAIN = "train"
    EXPORT = "export"  # and calibrate: the temperature is part of the exported graph
    GATE = "gate"
    QUANTIZE = "quantize"  # of the candidate that passed; each of its files is then judged in a gate stage of its own


# raised when a stage's code gives something else for the same inputs: folders of earlier releases do not fit then
VERSIONS: Mapping[Stage, int] = dict.fromkeys(Stage, 1)


class StageChanged(Exception):
    """What a finished stage wrote was changed afterwards; the message names the file."""


@dataclass(frozen=True, slots=True)
class Finished:
    """A stage that is done: what it gave, and the digest of everything that it wrote."""

    stage: Stage
    key: str  # SHA-256 of what went in
    folder: Path
    inputs: Mapping[str, Any]
    gave: Mapping[str, Any]
    files: Mapping[str, str]  # path within the folder -> SHA-256
    seconds: float
    is_reused: bool

    @property
    def digest(self) -> str:
        """Of what the stage gave: the next stage's input."""
        return _digest({"key": self.key, "files": dict(self.files)})


def stage_key(stage: Stage, inputs: Mapping[str, Any]) -> str:
    """SHA-256 over the stage, its version and its inputs, which must be JSON."""
    return _digest({"stage": stage, "version": VERSIONS[stage], "inputs": inputs})


def run_stage(
    parent: Path, stage: Stage, inputs: Mapping[str, Any], work: Callable[[Path], Mapping[str, Any]]
) -> Finished:
    """Let `work` fill the stage's folder, or find it done.

    `work` gets a folder in which an earlier attempt may have left checkpoints, writes what later stages read, and
    returns what a person should know. Raises StageChanged where a finished folder is not as it was left.
    """
    key = stage_key(stage, inputs)
    folder = parent / f"{stage}-{key[:KEY_LENGTH]}"
    found = read_finished(folder)
    if found is not None:
        check_untouched(found)
        return found
    folder.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    gave = work(folder)
    document = {
        "stage": stage,
        "key": key,
        "inputs": inputs,
        "gave": gave,
        "files": _digests(folder),
        "seconds": round(time.monotonic() - started, 3),
    }
    write_whole(folder / DONE_FILE, document)
    finished = read_finished(folder)
    assert finished is not None
    return replace(finished, is_reused=False)


def read_finished(folder: Path) -> Finished | None:
    """The stage of that folder, or None while it is not done."""
    try:
        document = orjson.loads((folder / DONE_FILE).read_bytes())
    except FileNotFoundError:
        return None
    return Finished(
        Stage(document["stage"]),
        document["key"],
        folder,
        document["inputs"],
        document["gave"],
        document["files"],
        document["seconds"],
        is_reused=True,
    )


def finished_stages(parent: Path) -> list[Finished]:
    """Every finished stage below a job's folder, in the order of the stages and then of their end."""
    paths = sorted(parent.glob(f"**/{DONE_FILE}"), key=lambda path: path.stat().st_mtime_ns)
    found = [finished for path in paths if (finished := read_finished(path.parent))]
    return sorted(found, key=lambda finished: list(Stage).index(finished.stage))


def check_untouched(finished: Finished) -> None:
    """Raise StageChanged unless the folder holds exactly the files that the stage left."""
    now = _digests(finished.folder)
    for name in sorted(now.keys() | finished.files.keys()):
        if now.get(name) != finished.files.get(name):
            what = "is gone" if name not in now else "is new" if name not in finished.files else "was changed"
            raise StageChanged(
                f"{finished.folder / name} {what} since the stage {finished.stage} ended; remove the folder"
                f" {finished.folder} to do the stage again"
            )


def _digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != DONE_FILE)
    return {str(path.relative_to(folder)): _digest_file(path) for path in files}


def _digest_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digest(document: Any) -> str:
    return hashlib.sha256(orjson.dumps(document, option=orjson.OPT_SORT_KEYS)).hexdigest()
