"""A deployment's files without its processes: configuration, exchange files, and students with gate reports."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from ledger.artifacts import (
    Certificate,
    CertifiedSlice,
    GateReport,
    Lineage,
    Manifest,
    SliceVerdict,
    publish,
    seal,
)
from ledger.configuration import Configuration
from ledger.control_file import transaction
from ledger.exchange import Answer, Exchange, Origin, exchange_id
from ledger.labels import keep_label
from ledger.observation import Observation
from ledger.stages import Stage, StageChange, append_stage_change, task_stages
from ledger.tables import StudentRow
from monitor.pairs import Pair
from monitor.statistics import references_of
from monitor.sums import SliceSums
from tests.ledger.builders import build_answer, build_exchange

TASK = "desk"
CLASSES = ("a", "b")
A, B = Observation((0.9, 0.1)), Observation((0.2, 0.8))
HOUR_US = 3600 * 1_000_000


def build_configuration(directory: Path, **task: Any) -> Configuration:
    """One task with a critical area slice, two length bands and the teacher's class."""
    section = {
        "name": TASK,
        "classes": CLASSES,
        "dialect": "huggingface",
        "paths": ("/desk",),
        "teacher": {"url": "http://127.0.0.1:1", "version": "1"},
        "capture": {"inputs": "text"},
        "slice": (
            {"name": "area", "header": "x-area", "critical": True, "bar": 0.8},
            {"name": "length", "words": (50,)},
            {"name": "desk", "teacher_class": True},
        ),
        "trigger": {"false_alarms": 1.0, "period_days": 1.0, "cooldown_seconds": 60.0},
        "licence": {
            "distillation_allowed": True,
            "decided_by": "p",
            "decided_on": "2026-01-02",
            "terms": "t",
        },
        "governance": {"owner": "o", "sponsor": "s", "driver": "d", "validator": "v", "operator": "op"},
    }
    return Configuration.model_validate(
        {
            "deployment": {"name": "test", "data_directory": directory},
            "monitor": {"tick_seconds": 10.0},
            "task": (section | task,),
        }
    )


def build_pair(teacher: Observation = A, student: Observation = A, **changes: Any) -> Pair:
    fields: dict[str, Any] = {
        "exchange_id": "g0-0",
        "input_index": 0,
        "artifact": "s-1",
        "at_us": 1_000_000,
        "slices": ("all", "area=a"),
        "teacher": teacher,
        "student": student,
        "input_digest": "0",
    }
    return Pair(**(fields | changes))


def shadowed(
    sequence: int, agrees: bool, artifact: str = "s-1", gateway: str = "g0", **changes: Any
) -> tuple[Exchange, Answer]:
    """An exchange that the teacher answered, and a student's answer to it."""
    exchange = build_exchange(
        sequence, exchange_id=exchange_id(gateway, sequence), **({"teacher": (A,)} | changes)
    )
    observations = tuple(o if agrees else _other(o) for o in exchange.teacher)
    return exchange, build_answer(sequence, artifact, observations=observations)


def served(sequence: int, artifact: str = "s-1", **changes: Any) -> tuple[Exchange, Answer]:
    """An exchange that the student served and whose audit was drawn: the teacher's answer comes later."""
    exchange = build_exchange(sequence, **({"teacher": (), "inclusion": 0.05} | changes))
    return exchange, build_answer(sequence, artifact, origin=Origin.INLINE, observations=(A,))


def verdict_on(name: str, pairs: int, agreements: int) -> SliceVerdict:
    return SliceVerdict(
        slice=name,
        outcome="pass",
        pairs=pairs,
        agreements=agreements,
        lower_bound=0.0,
        bar=None,
        critical=False,
        reason="",
    )


def gate_report(counts: Mapping[str, tuple[int, int]]) -> GateReport:
    """`counts` is slice -> (pairs, agreements)."""
    verdicts = tuple(verdict_on(name, *of_slice) for name, of_slice in counts.items())
    return GateReport(outcome="pass", reasons=(), lock_digest="", alpha=0.05, verdicts=verdicts)


@dataclass(frozen=True, slots=True)
class Student:
    artifact: str
    folder: Path


def add_student(
    engine: Engine,
    directory: Path,
    counts: Mapping[str, tuple[int, int]],
    stage: Stage = Stage.SHADOW,
    registered_at_us: int = 1,
    lines: Mapping[str, CertifiedSlice] | None = None,
    reference: Mapping[str, SliceSums] | None = None,
) -> Student:
    """A published, registered student at a stage; its folder holds a manifest alone."""
    manifest = _manifest(gate_report(counts), registered_at_us, lines or {}, reference or {})
    with tempfile.TemporaryDirectory() as building:
        digest = seal(Path(building), manifest)
        artifact = publish(Path(building), directory, digest)
    with transaction(engine) as session:
        session.add(
            StudentRow(
                artifact=artifact,
                task=TASK,
                job_id=1,
                parent=None,
                registered_at_us=registered_at_us,
                manifest_digest=digest,
                kind="static",
                gate_outcome="pass",
            )
        )
    set_stage(engine, artifact, stage)
    return Student(artifact, directory / "artifacts" / artifact)


def set_stage(engine: Engine, artifact: str, stage: Stage) -> None:
    with transaction(engine) as session:
        change = StageChange(TASK, artifact, stage, 0.0, actor="test", reason="a test says so")
        append_stage_change(session, change, task_stages(session, TASK).revision)


def send_label(
    engine: Engine, exchange: str, label: str, index: int = 0, probability: float | None = None
) -> None:
    with transaction(engine) as session:
        keep_label(session, exchange, index, label, "test", probability)


def traffic(count: int, artifact: str, disagree: Sequence[int] = (), **changes: Any) -> Any:
    """`count` exchanges with their answers, in the two lists that ExchangeFile.append takes."""
    pairs = [shadowed(n, n not in disagree, artifact, **changes) for n in range(count)]
    return [exchange for exchange, _ in pairs], [answer for _, answer in pairs]


def _other(observation: Observation) -> Observation:
    return B if observation.top == A.top else A


def _manifest(
    report: GateReport,
    seed: int,
    lines: Mapping[str, CertifiedSlice],
    reference: Mapping[str, SliceSums],
) -> Manifest:
    return Manifest(
        task=TASK,
        kind="static",
        classes=CLASSES,
        max_tokens=8,
        temperature=1.0,
        calibration="",
        parity={},
        milliseconds_per_answer=0.0,
        gate=report,
        certificate=Certificate(
            max_disagreement=0.1,
            delta=0.05,
            teacher_epoch="1",
            issued_at_us=seed,
            slices=dict(lines),
            pairs={},
        ),
        lineage=Lineage(
            job_id=1,
            cause="by_hand",
            alarm_id=None,
            parent=None,
            teacher_epoch="1",
            rows_digest="",
            rows={},
            threads=1,
            seed=seed,
            libraries={},
        ),
        licence={},
        reference=references_of(reference),
        files={},
    )
