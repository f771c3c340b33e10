"""Makes small but real students for tests: an ONNX file, a tokenizer file, a sealed and published manifest.

The model adds the rows of its words: a keyword speaks for its class with a chosen confidence, any other word
says nothing, and a text without keywords is answered with equal probabilities.
"""

import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from sqlalchemy import Engine
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from ledger.artifacts import (
    MODEL_FILE,
    TOKENIZER_FILE,
    Certificate,
    GateReport,
    Lineage,
    Manifest,
    SliceVerdict,
    publish,
    seal,
)
from ledger.clock import now_us
from ledger.control_file import transaction
from ledger.slices import OVERALL
from ledger.stages import Stage, StageChange, append_stage_change, task_stages
from ledger.tables import StudentRow
from tests.ledger.builders import build_certified_slice

DEFAULT_CONFIDENCE = 0.9
ISSUED_AT_US = now_us()  # of certificates: new, and the same for every artifact of a run
NAN_WORD = "notanumber"  # makes the model answer NaN
FAILING_WORD = "outofbounds"  # makes ONNX Runtime raise


@dataclass(frozen=True, slots=True)
class TinyArtifact:
    """What `publish` returned and the digest to register it with."""

    artifact: str
    manifest_digest: str
    folder: Path


def tiny_artifact(
    data_directory: Path,
    classes: Sequence[str],
    *,
    task: str = "topics",
    keywords: Mapping[str, tuple[str, float]] | None = None,
    thresholds: Mapping[str, float] | None = None,
    max_tokens: int = 64,
    always_nan: bool = False,
    graph_classes: int | None = None,
    busy_rounds: int = 0,
    allocate_bytes: int = 0,
    teacher_epoch: str = "1",
    issued_at_us: int = ISSUED_AT_US,
    seed: int = 1,
    spots: bool = False,
    reference: Mapping[str, dict[str, Any]] | None = None,
) -> TinyArtifact:
    """Build, seal and publish a student under `data_directory`.

    `keywords` maps a word to its class and confidence; by default every class's own name, at 0.9.
    `thresholds` is the certificate, by default 0.6 for the overall slice. `graph_classes` other than the
    number of classes makes an artifact of the wrong shape, `always_nan` one that fails its warm-up, and
    `busy_rounds` a slow one (about a third of a millisecond each), `allocate_bytes` one that asks for so much
    memory with every batch. `seed` tells artifacts apart. With `spots` its file tells a spot beside each answer,
    whose region and band are the answer's class. `reference` is what the manifest keeps of the gate's rows.
    """
    keywords = keywords or {name.lower(): (name, DEFAULT_CONFIDENCE) for name in classes}
    words = ["[UNK]", *keywords, NAN_WORD]
    table = _word_table(words, classes, keywords, graph_classes or len(classes))
    if always_nan:
        table[:] = np.nan
    with tempfile.TemporaryDirectory() as building:
        folder = Path(building)
        onnx.save(_model(table, busy_rounds, allocate_bytes, spots), folder / MODEL_FILE)
        _tokenizer([*words, FAILING_WORD]).save(str(folder / TOKENIZER_FILE))
        certified = thresholds or {OVERALL: 0.6}
        manifest = _manifest(task, classes, max_tokens, certified, teacher_epoch, issued_at_us, seed)
        manifest = manifest.model_copy(update={"reference": reference or {}})
        return _published(folder, data_directory, manifest)


def artifact_of(
    folder: Path, data_directory: Path, classes: Sequence[str], *, task: str = "topics", max_tokens: int = 64
) -> TinyArtifact:
    """Seal and publish a folder that holds a model and a tokenizer already."""
    return _published(folder, data_directory, plain_manifest(classes, task=task, max_tokens=max_tokens))


def plain_manifest(classes: Sequence[str], *, task: str = "topics", max_tokens: int = 64) -> Manifest:
    """Of a student that passed its gate and may serve everything from confidence 0.6."""
    return _manifest(task, classes, max_tokens, {OVERALL: 0.6}, "1", ISSUED_AT_US, 1)


def _published(folder: Path, data_directory: Path, manifest: Manifest) -> TinyArtifact:
    digest = seal(folder, manifest)
    artifact = publish(folder, data_directory, digest)
    return TinyArtifact(artifact, digest, data_directory / "artifacts" / artifact)


def register(
    control: Engine,
    tiny: TinyArtifact,
    *,
    task: str = "topics",
    stage: Stage | None = Stage.SHADOW,
    share: float = 0.0,
    job_id: int = 1,
    parent: str | None = None,
) -> None:
    """Enter the student as a finished job would, and give it a stage unless that is None."""
    with transaction(control) as session:
        session.add(
            StudentRow(
                artifact=tiny.artifact,
                task=task,
                job_id=job_id,
                parent=parent,
                registered_at_us=now_us(),
                manifest_digest=tiny.manifest_digest,
                kind="static",
                gate_outcome="pass",
            )
        )
    if stage is not None:
        set_stage(control, tiny.artifact, stage, share, task=task)


def set_stage(
    control: Engine, artifact: str, stage: Stage, share: float = 0.0, *, task: str = "topics"
) -> int:
    """Append a stage change at the present revision; returns the new one."""
    change = StageChange(task, artifact, stage, share, actor="test", reason="a test says so")
    with transaction(control) as session:
        return append_stage_change(session, change, task_stages(session, task).revision)


def _word_table(
    words: Sequence[str], classes: Sequence[str], keywords: Mapping[str, tuple[str, float]], width: int
) -> np.ndarray:
    """One row of logits a word, all zero but for the keyword's class: float32 [words, width]."""
    table = np.zeros((len(words), width), dtype=np.float32)
    for index, word in enumerate(words):
        if word in keywords:
            name, confidence = keywords[word]
            table[index, list(classes).index(name)] = math.log(
                confidence * (len(classes) - 1) / (1 - confidence)
            )
    table[list(words).index(NAN_WORD)] = np.nan
    return table


def _model(table: np.ndarray, busy_rounds: int, allocate_bytes: int, spots: bool) -> onnx.ModelProto:
    """logits = sum over tokens of table[token] * mask; probs = softmax(logits); spots = argmax(logits), twice."""
    width = table.shape[1]
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["rows"], axis=0),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "last"], ["wide_mask"]),
        helper.make_node("Mul", ["rows", "wide_mask"], ["masked"]),
        helper.make_node("ReduceSum", ["masked", "tokens"], ["summed"], keepdims=0),
        *_busy_nodes(busy_rounds),
        *_greedy_nodes(allocate_bytes),
        helper.make_node("Add", ["summed", "nothing"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probs"], axis=-1),
        *(_spot_nodes() if spots else ()),
    ]
    constants = {
        "table": table,
        "last": np.array([2], dtype=np.int64),
        "tokens": np.array([1], dtype=np.int64),
        **({} if busy_rounds or allocate_bytes else {"nothing": np.zeros(1, dtype=np.float32)}),
        **({"rounds": np.array(busy_rounds, dtype=np.int64)} if busy_rounds else {}),
        **({"square": np.zeros((200, 200), dtype=np.float32)} if busy_rounds else {}),
        **({"always": np.array(True)} if busy_rounds else {}),
        **({"floats": np.array([allocate_bytes // 4], dtype=np.int64)} if allocate_bytes else {}),
    }
    graph = helper.make_graph(
        nodes,
        "tiny",
        [
            helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "seq"])
            for name in ("input_ids", "attention_mask")
        ],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", width])
            for name in ("logits", "probs")
        ]
        + [helper.make_tensor_value_info("spots", TensorProto.INT64, ["batch", 2])] * spots,
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return model


def _spot_nodes() -> list[onnx.NodeProto]:
    return [
        helper.make_node("ArgMax", ["logits"], ["top"], axis=-1, keepdims=1),
        helper.make_node("Concat", ["top", "top"], ["spots"], axis=1),
    ]


def _busy_nodes(rounds: int) -> list[onnx.NodeProto]:
    """A loop of matrix products whose outcome is zero and that no optimiser can leave out."""
    if not rounds:
        return []
    body = helper.make_graph(
        [
            helper.make_node("MatMul", ["before", "before"], ["after"]),
            helper.make_node("Identity", ["go"], ["go_on"]),
        ],
        "round",
        [
            helper.make_tensor_value_info("round_number", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("before", TensorProto.FLOAT, [200, 200]),
        ],
        [
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("after", TensorProto.FLOAT, [200, 200]),
        ],
    )
    return [
        helper.make_node("ReduceMax", ["mask"], ["one"], keepdims=0),
        helper.make_node("Mul", ["square", "one"], ["start"]),
        helper.make_node("Loop", ["rounds", "always", "start"], ["end"], body=body),
        helper.make_node("ReduceMax", ["end"], ["nothing"], keepdims=0),
    ]


def _greedy_nodes(size: int) -> list[onnx.NodeProto]:
    """That many bytes of zeros, asked for anew with every batch: how many depends on the mask."""
    if not size:
        return []
    return [
        helper.make_node("ReduceMax", ["attention_mask"], ["present"], keepdims=0),
        helper.make_node("Mul", ["floats", "present"], ["shape"]),
        helper.make_node("ConstantOfShape", ["shape"], ["zeros"]),
        helper.make_node("ReduceMax", ["zeros"], ["nothing"], keepdims=0),
    ]


def _tokenizer(words: Sequence[str]) -> Tokenizer:
    tokenizer = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, "[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return tokenizer


def _manifest(
    task: str,
    classes: Sequence[str],
    max_tokens: int,
    thresholds: Mapping[str, float],
    teacher_epoch: str,
    issued_at_us: int,
    seed: int,
) -> Manifest:
    verdict = SliceVerdict(
        slice=OVERALL,
        outcome="pass",
        pairs=600,
        agreements=570,
        lower_bound=0.93,
        bar=0.8,
        critical=False,
        reason="the lower bound 0.93 reaches the bar 0.8",
    )
    return Manifest(
        task=task,
        kind="static",
        classes=tuple(classes),
        max_tokens=max_tokens,
        temperature=1.0,
        calibration="made by hand",
        parity={"largest_difference": 0.0},
        milliseconds_per_answer=0.01,
        gate=GateReport(outcome="pass", reasons=(), lock_digest="0" * 64, alpha=0.05, verdicts=(verdict,)),
        certificate=Certificate(
            max_disagreement=0.1,
            delta=0.05,
            teacher_epoch=teacher_epoch,
            issued_at_us=issued_at_us,
            slices={name: build_certified_slice(confidence) for name, confidence in thresholds.items()},
            pairs=dict.fromkeys(thresholds, 600),
        ),
        lineage=Lineage(
            job_id=1,
            cause="by_hand",
            alarm_id=None,
            parent=None,
            teacher_epoch=teacher_epoch,
            rows_digest="0" * 64,
            rows={"train": 1000},
            threads=1,
            seed=seed,
            libraries={},
        ),
        licence={
            "distillation_allowed": True,
            "decided_by": "a person",
            "decided_on": "2026-01-02",
            "terms": "the terms",
        },
        files={},
    )
