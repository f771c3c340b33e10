"""One loaded student: a verified artifact, its tokenizer and an ONNX Runtime session."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from tokenizers import Tokenizer

from ledger.artifacts import MODEL_FILE, TOKENIZER_FILE, ArtifactError, Manifest, verify
from ledger.configuration import StudentSection
from ledger.observation import Observation, ObservationError, observe
from student.batching import split
from student.tokens import TokenIds, load_tokenizer, pad, tokenize

PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}
INPUTS = {"input_ids": "tensor(int64)", "attention_mask": "tensor(int64)"}  # each [batch, seq]
OUTPUTS = {"logits": "tensor(float)", "probs": "tensor(float)"}  # each [batch, classes]
WARM_UP_TEXTS = ("a", "the first words of a text that the student reads before anybody waits for it")


log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Student:
    """Answers texts in the order of its manifest's classes. Calls from one thread at a time.

    student = Student.load(folder, manifest_digest, configuration.student)
    observations = student.answer(["a text", "another one"])
    """

    manifest: Manifest
    tokenizer: Tokenizer
    session: onnxruntime.InferenceSession
    max_batch_tokens: int

    @classmethod
    def load(cls, folder: Path, manifest_digest: str, settings: StudentSection) -> "Student":
        """Verify every file, load, check the shapes and answer once. Raises ArtifactError."""
        manifest = verify(folder, manifest_digest)
        tokenizer = load_tokenizer(folder / TOKENIZER_FILE, manifest.max_tokens)
        session = _open_session(folder / MODEL_FILE, settings)
        _check_signature(session, len(manifest.classes), folder)
        student = cls(manifest, tokenizer, session, settings.max_batch_tokens)
        student._warm_up(folder)
        return student

    def tokenize(self, texts: Sequence[str]) -> list[TokenIds]:
        return tokenize(self.tokenizer, texts)

    def infer(self, rows: Sequence[TokenIds]) -> list[Observation]:
        """One batch of tokenised texts, padded to its longest row; where it fails, each row alone."""
        try:
            return self._observe(rows)
        except Exception as error:  # ONNX Runtime's exceptions share no base but this
            if len(rows) > 1:
                return [observation for row in rows for observation in self.infer([row])]
            log.warning("An input of %d tokens failed: %s. action=inference_failed", len(rows[0]), error)
            return [Observation(None, ObservationError.STUDENT_FAILED)]

    def answer(self, texts: Sequence[str]) -> list[Observation]:
        """One observation per text, in order, run in batches of similar lengths."""
        rows = self.tokenize(texts)
        observations: dict[int, Observation] = {}
        for batch in split([len(row) for row in rows], self.max_batch_tokens):
            observations.update(zip(batch, self.infer([rows[index] for index in batch]), strict=True))
        return [observations[index] for index in range(len(rows))]

    def _observe(self, rows: Sequence[TokenIds]) -> list[Observation]:
        probabilities = self._run(rows)
        if len(probabilities) != len(rows):
            raise ValueError(f"{len(rows)} rows were answered with shape {probabilities.shape}")
        class_count = len(self.manifest.classes)
        return [observe(row, class_count) for row in probabilities.tolist()]

    def _run(self, rows: Sequence[TokenIds]) -> NDArray[np.float32]:
        ids, mask = pad(rows)
        inputs = {"input_ids": ids, "attention_mask": mask}
        (probabilities,) = self.session.run(["probs"], inputs, _quiet_run())
        return np.asarray(probabilities, dtype=np.float32)

    def _warm_up(self, folder: Path) -> None:
        """The first runs allocate and compile; what fails on plain words would fail on every request."""
        expected = (len(WARM_UP_TEXTS), len(self.manifest.classes))
        try:
            probabilities = self._run(self.tokenize(WARM_UP_TEXTS))
        except Exception as error:  # ONNX Runtime's exceptions share no base but this
            raise ArtifactError(f"{folder / MODEL_FILE} failed on its first texts: {error}") from error
        if probabilities.shape != expected:
            raise ArtifactError(
                f"{folder / MODEL_FILE} answered {expected[0]} texts with probs of shape"
                f" {list(probabilities.shape)}, expected {list(expected)} for the manifest's classes"
            )
        for observation in (observe(row, expected[1]) for row in probabilities.tolist()):
            if observation.error is not None:
                raise ArtifactError(
                    f"{folder / MODEL_FILE} answered its first texts with no distribution:"
                    f" {observation.error} in {probabilities.tolist()}"
                )


def _quiet_run() -> onnxruntime.RunOptions:
    """What fails is raised; ONNX Runtime would also print it, in colours."""
    options = onnxruntime.RunOptions()
    options.log_severity_level = 4
    return options


def providers_of(settings: StudentSection) -> list[str]:
    """ONNX Runtime's names of the configured providers. Raises ArtifactError when one is not installed."""
    available = onnxruntime.get_available_providers()
    missing = [provider for provider in settings.providers if PROVIDERS[provider] not in available]
    if missing:
        raise ArtifactError(
            f"student.providers = {list(settings.providers)}: this onnxruntime lacks"
            f" {[PROVIDERS[provider] for provider in missing]}, it has {available};"
            " correct the setting or install the other onnxruntime (extra cpu or gpu)"
        )
    return [PROVIDERS[provider] for provider in settings.providers]


def _open_session(path: Path, settings: StudentSection) -> onnxruntime.InferenceSession:
    providers = providers_of(settings)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = settings.threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # idle must cost nothing
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=providers)
    except Exception as error:  # ONNX Runtime's exceptions share no base but this
        raise ArtifactError(f"{path} cannot be loaded by ONNX Runtime: {error}") from error
    session.disable_fallback()
    active = session.get_providers()
    if active[0] != providers[0]:  # a provider whose libraries fail to load is dropped with a warning only
        raise ArtifactError(
            f"{path} would run on {active[0]} where student.providers asks for {providers[0]};"
            " see the log for what kept it from loading, or change student.providers"
        )
    return session


def _check_signature(session: onnxruntime.InferenceSession, classes: int, folder: Path) -> None:
    """Names, types and shapes as far as the file declares them; the warm-up sees the rest."""
    problems = [
        *_differences("input", INPUTS, session.get_inputs(), None),
        *_differences("output", OUTPUTS, session.get_outputs(), classes),
    ]
    if problems:
        raise ArtifactError(f"{folder / MODEL_FILE} is no student: {'; '.join(problems)}")


def _differences(what: str, expected: dict[str, str], found: Sequence[Any], width: int | None) -> list[str]:
    described = {node.name: f"{node.type} {node.shape}" for node in found}
    if set(described) != set(expected):
        return [f"its {what}s are {described}, expected {expected}"]
    return [
        f"{what} {node.name} is {described[node.name]}, expected"
        f" {expected[node.name]} [batch, {'seq' if width is None else width}]"
        for node in found
        if node.type != expected[node.name] or not _fits(node.shape, width)
    ]


def _fits(shape: Sequence[int | str | None], width: int | None) -> bool:
    """Two dimensions: a free batch, and the width where one is fixed."""
    if len(shape) != 2 or isinstance(shape[0], int):
        return False
    return not isinstance(shape[1], int) or shape[1] == width
