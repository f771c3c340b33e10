"""A student's folder: ONNX file, tokenizer and a manifest that tells what made it and every file's digest.

Verified before anything in it is loaded: regular files, one hard link, no symbolic links, nothing unlisted.
(onnxruntime follows a hard link out of the folder where onnx refuses it.)
"""

import hashlib
import os
import shutil
import stat
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError

MANIFEST = "manifest.json"
MODEL_FILE = "model.onnx"
TOKENIZER_FILE = "tokenizer.json"
WEIGHTS_FILE = "weights.safetensors"  # what training changed: the next student of this kind may start from it
SIGNATURE_FILE = "model.sig"  # over all other files, the manifest too: the one file that it cannot list


_CHANGED = "{} differs from its registered digest: the file is corrupt or was replaced"


class ArtifactError(Exception):
    """The folder is not the artifact that was registered, or no artifact at all."""


class Precision(StrEnum):
    """Of a student's weights; each is an artifact of its own."""

    FP32 = "fp32"
    INT8_WEIGHTS = "int8-weights"  # products of rows stay each row's own
    INT8_DYNAMIC = "int8-dynamic"  # a scale for the activations of a whole batch


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SliceVerdict(Part):
    """One line of the gate report."""

    slice: str
    outcome: Literal["pass", "fail", "inconclusive"]
    pairs: int
    agreements: int
    lower_bound: float  # exact one-sided Clopper-Pearson, at the gate's alpha
    bar: float | None
    critical: bool
    reason: str


class CriterionVerdict(Part):
    """One row of the gate beside the fidelity of slices."""

    criterion: str  # distill.gating.criterion.Criterion
    name: str  # what of it: a slice, a kind of change, a tag, a pattern of traffic
    outcome: Literal["pass", "fail", "inconclusive", "not_judged"]
    decides: bool  # a row that does not is told, and stops nothing
    count: int
    value: float | None
    low: float | None
    high: float | None
    bar: float | None
    reason: str


class GateReport(Part):
    outcome: Literal["pass", "fail", "inconclusive"]
    reasons: tuple[str, ...]
    lock_digest: str  # of the rows, slices, bars and alpha fixed before training
    alpha: float
    verdicts: tuple[SliceVerdict, ...]
    criteria: tuple[CriterionVerdict, ...] = ()


class CertifiedSlice(Part):
    """From which confidence the student may serve a slice, with the held-out pairs that prove it."""

    confidence: float  # the least
    accepted: int  # pairs at or above it
    disagreements: int  # of these
    pairs: int  # of the slice, or of the whole pool
    delta: float  # probability that this line is wrong
    method: Literal["grid", "counts"]  # which search found it: monitor.certificate
    coverage_low: float  # accepted / pairs, exact 95 % interval
    coverage_high: float
    pool: tuple[str, ...] = ()  # slices too small to prove anything alone, which share this line


class Certificate(Part):
    """Confidence thresholds from which the student may serve, per slice.

    With probability at least 1 - delta, for every line at once: among inputs of the slice (or pool) answered
    with at least that confidence, the student disagrees with the teacher in at most `max_disagreement`. A
    slice without a line stays with the teacher.
    """

    max_disagreement: float
    delta: float
    teacher_epoch: str
    issued_at_us: int
    slices: dict[str, CertifiedSlice]  # slice or pool -> its line
    pairs: dict[str, int]  # every slice that was looked at -> held-out pairs
    served: int = 0  # of the pairs drawn whatever their slice, those that all their thresholds would serve
    drawn: int = 0  # how many there were

    @property
    def thresholds(self) -> dict[str, float]:
        """Least confidence by slice, the members of pools one by one."""
        return {member: self.slices[line].confidence for member, line in self.lines.items()}

    @property
    def lines(self) -> dict[str, str]:
        """Which line holds for each slice."""
        return {member: name for name, line in self.slices.items() for member in line.pool or (name,)}


class Lineage(Part):
    job_id: int
    cause: str
    alarm_id: int | None
    parent: str | None
    quantized_from: str | None = None  # manifest digest of the FP32 artifact
    teacher_epoch: str
    rows_digest: str  # of the training rows' identities
    rows: dict[str, int]  # split -> rows
    threads: int
    seed: int
    libraries: dict[str, str]


class Manifest(Part):
    format: Literal[1] = 1
    task: str
    kind: str  # linear, static, frozen, transformer, custom
    precision: Precision = Precision.FP32
    max_batch: int | None = None  # rows that may share a run, where more would change answers
    classes: tuple[str, ...]
    max_tokens: int
    temperature: float  # baked into the graph's `probs`
    calibration: str  # how the temperature was found, or why it is 1
    parity: dict[str, float]
    quantization: dict[str, Any] = {}  # of an INT8 artifact: flips against FP32, padding, bytes, processor
    milliseconds_per_answer: float  # processor time, one thread, measured after export
    gate: GateReport
    certificate: Certificate
    lineage: Lineage
    licence: dict[str, Any]
    fairness: dict[str, Any] | None = None  # the task's statement; without one it is not registered
    play: dict[str, Any] | None = None  # what it is for
    signature: dict[str, Any] | None = None  # who signed what the gate asked for
    reference: dict[
        str, dict[str, Any]
    ] = {}  # slice -> sums of its gate rows that live traffic is held against
    files: dict[str, str]  # file name -> SHA-256


def artifact_folder(data_directory: Path, artifact: str) -> Path:
    return data_directory / "artifacts" / artifact


def seal(folder: Path, manifest: Manifest) -> str:
    """Write the manifest, with the digests of the files that lie there, and return its own digest."""
    unlisted = (MANIFEST, SIGNATURE_FILE)
    files = {path.name: _digest_file(path) for path in sorted(folder.iterdir()) if path.name not in unlisted}
    content = orjson.dumps(
        manifest.model_copy(update={"files": files}).model_dump(mode="json"),
        option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS,
    )
    (folder / MANIFEST).write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def publish(folder: Path, data_directory: Path, manifest_digest: str) -> str:
    """Move a sealed folder into the registry under a name made of its digest; return that name."""
    artifact = f"s-{manifest_digest[:12]}"
    target = artifact_folder(data_directory, artifact)
    target.parent.mkdir(parents=True, exist_ok=True)
    if not target.exists():
        staging = target.with_name(f".{artifact}.{os.getpid()}")
        shutil.copytree(folder, staging)
        staging.rename(target)
    return artifact


def verify(folder: Path, manifest_digest: str, most_bytes: int | None = None) -> Manifest:
    """Check every file of an artifact against its registered digest, none larger than so. Raises ArtifactError."""
    manifest_path = folder / MANIFEST
    if not manifest_path.is_file():
        raise ArtifactError(f"{folder} has no {MANIFEST}: the artifact is missing or was not published whole")
    content = manifest_path.read_bytes()
    if hashlib.sha256(content).hexdigest() != manifest_digest:
        raise ArtifactError(f"{manifest_path} differs from the registered digest {manifest_digest[:12]}...")
    try:
        manifest = Manifest.model_validate_json(content)
    except ValidationError as error:
        raise ArtifactError(f"{manifest_path} is no manifest of this release: {error}") from None
    found = {path.name for path in folder.iterdir()} - {MANIFEST, SIGNATURE_FILE}
    if found != set(manifest.files):
        raise ArtifactError(f"{folder} holds {sorted(found)}, the manifest lists {sorted(manifest.files)}")
    for name, digest in manifest.files.items():
        if Path(name).name != name:
            raise ArtifactError(f"{manifest_path} lists {name!r}, which is no file of this folder")
        _verify_file(folder / name, digest, most_bytes)
    return manifest


def read_verified(folder: Path, manifest: Manifest, name: str) -> bytes:
    """The bytes of one file, from one opening: what was verified is what is used. Raises ArtifactError."""
    path = folder / name
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as file:
            _check_status(path, os.fstat(file.fileno()))
            content = file.read()
    except OSError as error:
        raise ArtifactError(f"{path} cannot be read: {error}") from error
    if hashlib.sha256(content).hexdigest() != manifest.files.get(name):
        raise ArtifactError(_CHANGED.format(path))
    return content


def _verify_file(path: Path, digest: str, most_bytes: int | None) -> None:
    status = path.lstat()
    _check_status(path, status)
    if most_bytes is not None and status.st_size > most_bytes:
        raise ArtifactError(f"{path} has {status.st_size} bytes; student.max_model_bytes is {most_bytes}")
    if _digest_file(path) != digest:
        raise ArtifactError(_CHANGED.format(path))


def _check_status(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
        raise ArtifactError(
            f"{path} is not a regular file with one link; links out of an artifact are refused"
        )


def _digest_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
