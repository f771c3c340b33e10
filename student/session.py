"""One loaded student: a verified artifact, its tokenizer and an ONNX Runtime session."""

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from ledger.artifacts import MODEL_FILE, TOKENIZER_FILE, ArtifactError, Manifest, read_verified, verify
from ledger.configuration import StudentSection
from ledger.observation import SUM_TOLERANCE, Observation, ObservationError, observe
from ledger.spots import NOWHERE, spot_of
from student.batching import split
from student.graph_check import check_graph
from student.providers import ProviderMissing, providers_of, refuse_fallback
from student.signature import check_signature
from student.tokens import HeadFirst, TokenIds, head_first, load_tokenizer, pad

INPUTS = {"input_ids": "tensor(int64)", "attention_mask": "tensor(int64)"}  # each [batch, seq]
OUTPUTS = {"logits": "tensor(float)", "probs": "tensor(float)"}  # each [batch, classes]
SPOTS = {"spots": "tensor(int64)"}  # [batch, 2]: region and band; files of an earlier release have none
WARM_UP_TEXTS = ("a", "the first words of a text that the student reads before anybody waits for it")
WARM_UP_ROWS = 64

Probabilities = NDArray[np.float32]  # [batch, classes]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Student:
    """Answers texts in the order of its manifest's classes. Calls from one thread at a time.

    student = Student.load(folder, manifest_digest, configuration.student)
    observations = student.answer(["a text", "another one"])
    """

    manifest: Manifest
    tokens: HeadFirst
    session: onnxruntime.InferenceSession
    max_batch_tokens: int
    outputs: tuple[str, ...]  # that are asked for

    @classmethod
    def load(cls, folder: Path, manifest_digest: str, settings: StudentSection) -> "Student":
        """Verify every file, load, check the shapes and answer once. Raises ArtifactError."""
        manifest = verify(folder, manifest_digest, settings.max_model_bytes)
        check_signature(folder, settings.public_key)
        tokenizer = load_tokenizer(folder / TOKENIZER_FILE, manifest.max_tokens)
        session = _open_session(folder, manifest, settings)
        _check_signature(session, len(manifest.classes), folder)
        tokens = head_first(tokenizer, manifest.max_tokens)
        student = cls(manifest, tokens, session, settings.max_batch_tokens, ("probs", *_spots_of(session)))
        student._warm_up(folder, settings)
        return student

    @property
    def providers(self) -> list[str]:
        """What runs it, the first one first."""
        return list(self.session.get_providers())

    def tokenize(self, texts: Sequence[str]) -> list[TokenIds]:
        return self.tokens.rows(texts)

    def infer(
        self, rows: Sequence[TokenIds], options: onnxruntime.RunOptions | None = None
    ) -> list[Observation]:
        """One batch of tokenised texts, padded to its longest row; where it fails, each row alone.

        Where the manifest pins `max_batch`, no more rows than that share a run.

        `options.terminate`, set by another thread, ends it within one operator: nothing is tried again then.
        """
        options = options or quiet_run()
        most = self.manifest.max_batch or len(rows)
        if len(rows) > most:
            parts = (rows[start : start + most] for start in range(0, len(rows), most))
            return [observation for part in parts for observation in self.infer(part, options)]
        try:
            return self._observe(rows, options)
        except Exception as error:  # ONNX Runtime's exceptions share no base but this
            if len(rows) > 1 and not options.terminate:
                return [observation for row in rows for observation in self.infer([row], options)]
            log.warning("An input of %d tokens failed: %s. action=inference_failed", len(rows[0]), error)
            return [Observation(None, ObservationError.STUDENT_FAILED)] * len(rows)

    def answer(self, texts: Sequence[str]) -> list[Observation]:
        """One observation per text, in order, run in batches of similar lengths."""
        rows = self.tokenize(texts)
        observations: dict[int, Observation] = {}
        for batch in split([len(row) for row in rows], self.max_batch_tokens):
            observations.update(zip(batch, self.infer([rows[index] for index in batch]), strict=True))
        return [observations[index] for index in range(len(rows))]

    def _observe(self, rows: Sequence[TokenIds], options: onnxruntime.RunOptions) -> list[Observation]:
        probabilities, spots = self._run(rows, options)
        if len(probabilities) != len(rows):
            raise ValueError(f"{len(rows)} rows were answered with shape {probabilities.shape}")
        class_count = len(self.manifest.classes)
        answers = zip(probabilities.tolist(), spots, strict=True)
        if _are_distributions(probabilities, class_count):
            return [Observation(tuple(row), None, False, 0.0, spot) for row, spot in answers]
        return [observe(row, class_count)._replace(spot=spot) for row, spot in answers]

    def _run(
        self, rows: Sequence[TokenIds], options: onnxruntime.RunOptions
    ) -> tuple[Probabilities, list[int]]:
        """Probabilities, and the spot of each row: NOWHERE where the file does not tell it."""
        ids, mask = pad(rows)
        inputs = {"input_ids": ids, "attention_mask": mask}
        probabilities, *told = self.session.run(list(self.outputs), inputs, options)
        spots = [spot_of(*row) for row in told[0].tolist()] if told else [NOWHERE] * len(probabilities)
        return np.asarray(probabilities, dtype=np.float32), spots

    def _warm_up(self, folder: Path, settings: StudentSection) -> None:
        """The first runs of a shape allocate and compile; what fails here would fail on every request."""
        expected = (len(WARM_UP_TEXTS), len(self.manifest.classes))
        options = quiet_run()
        alarm = threading.Timer(settings.run_seconds, setattr, (options, "terminate", True))
        alarm.start()
        try:
            probabilities, _ = self._run(self.tokenize(WARM_UP_TEXTS), options)
            for rows in self._warm_up_batches():
                self._warm_up_shape(rows, options, folder)
        except Exception as error:  # ONNX Runtime's exceptions share no base but this
            why = _why_it_failed(error, options, settings)
            raise ArtifactError(f"{folder / MODEL_FILE} failed on its first texts: {why}") from error
        finally:
            alarm.cancel()
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

    def _warm_up_shape(self, rows: Sequence[TokenIds], options: onnxruntime.RunOptions, folder: Path) -> None:
        """One that fails, for want of memory as a rule, costs such inputs their answer and nothing else."""
        try:
            self._run(rows, options)
        except Exception as error:  # ONNX Runtime's exceptions share no base but this
            if options.terminate:
                raise
            shape = f"{len(rows)} rows of {len(rows[0])} tokens"
            log.warning("%s fails on %s: %s. action=warm_up_failed", folder, shape, error)

    def _warm_up_batches(self) -> list[list[TokenIds]]:
        """The shapes at the edges: the longest row, and as many short ones as a batch may hold."""
        word = self.tokenize(WARM_UP_TEXTS[:1])[0]
        longest = (word * self.manifest.max_tokens)[: self.manifest.max_tokens]
        most = self.manifest.max_batch or WARM_UP_ROWS
        return [[longest], [word] * max(1, min(most, self.max_batch_tokens // len(word)))]


def _why_it_failed(error: Exception, options: onnxruntime.RunOptions, settings: StudentSection) -> str:
    if options.terminate:
        return f"no end after student.run_seconds = {settings.run_seconds:g}"
    if "bad_alloc" in str(error):  # all that ONNX Runtime says of it
        return f"it wants more memory than student.memory_limit_bytes = {settings.memory_limit_bytes} leaves"
    return str(error)


def _are_distributions(probabilities: Probabilities, classes: int) -> bool:
    """Whether every row is fit to compare; NaN fails each comparison."""
    if probabilities.ndim != 2 or probabilities.shape[1] != classes:
        return False
    sums = probabilities.sum(axis=1, dtype=np.float64)
    return bool(
        probabilities.min() >= 0 and probabilities.max() <= 1 and abs(sums - 1).max() <= SUM_TOLERANCE
    )


def quiet_run() -> onnxruntime.RunOptions:
    """What fails is raised; ONNX Runtime would also print it, in colours."""
    options = onnxruntime.RunOptions()
    options.log_severity_level = 4
    return options


def _open_session(folder: Path, manifest: Manifest, settings: StudentSection) -> onnxruntime.InferenceSession:
    """From bytes that were verified and looked into: the runtime opens no file by itself."""
    path = folder / MODEL_FILE
    content = read_verified(folder, manifest, MODEL_FILE)
    check_graph(content, str(path))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = settings.threads
    options.inter_op_num_threads = 1
    options.enable_mem_pattern = False  # a plan for each shape ever seen, where shapes never repeat
    # Its arena doubles what it asks for and keeps it: after one input too large for the ceiling it takes all that
    # is left below it, and everything else in the process fails.
    options.enable_cpu_mem_arena = False
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # idle must cost nothing
    try:
        providers = providers_of(settings.providers)
        session = onnxruntime.InferenceSession(content, options, providers=providers)
        session.disable_fallback()
        refuse_fallback(providers, session.get_providers())
    except ProviderMissing as error:
        raise ArtifactError(f"{path}: {error}") from error
    except Exception as error:  # ONNX Runtime's exceptions share no base but this
        raise ArtifactError(f"{path} cannot be loaded by ONNX Runtime: {error}") from error
    return session


def _check_signature(session: onnxruntime.InferenceSession, classes: int, folder: Path) -> None:
    """Names, types and shapes as far as the file declares them; the warm-up sees the rest."""
    outputs = session.get_outputs()
    problems = [
        *_differences("input", INPUTS, session.get_inputs(), None),
        *_differences("output", OUTPUTS, [node for node in outputs if node.name not in SPOTS], classes),
        *_differences("output", _spots_of(session), [node for node in outputs if node.name in SPOTS], 2),
    ]
    if problems:
        raise ArtifactError(f"{folder / MODEL_FILE} is no student: {'; '.join(problems)}")


def _spots_of(session: onnxruntime.InferenceSession) -> dict[str, str]:
    """SPOTS where the file has them."""
    return SPOTS if any(node.name in SPOTS for node in session.get_outputs()) else {}


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
