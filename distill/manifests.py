"""The manifest of a candidate: what made it, before the gate has spoken and afterwards."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import orjson

from distill.choosing import Chosen
from distill.context import JobContext
from distill.curation.rows import Row
from distill.curation.split import Split
from distill.gating.gate import Judged
from distill.gating.lock import Lock
from distill.gating.terms import signature_of
from distill.registration.register import fairness_statement
from distill.stages import Finished
from distill.training.candidates import SEED, THREADS
from ledger.artifacts import Certificate, GateReport, Lineage, Manifest
from ledger.clock import now_us
from ledger.configuration import CandidateSection
from monitor.statistics import references_of

LIBRARIES = ("torch", "transformers", "onnx", "onnxruntime", "numpy")


@dataclass(frozen=True, slots=True)
class MadeFrom:
    """What every candidate of a job is made from."""

    context: JobContext
    chosen: Chosen
    parent: str | None
    licence: Mapping[str, Any]

    @property
    def split(self) -> Split:
        return self.chosen.split

    @property
    def lock(self) -> Lock:
        return self.chosen.lock


def unjudged_manifest(made_from: MadeFrom, section: CandidateSection, trained: Finished) -> Manifest:
    task, calibration = made_from.context.task, trained.gave["calibration"]
    return Manifest(
        task=task.name,
        kind=section.kind,
        classes=task.classes,
        max_tokens=section.max_tokens,
        temperature=calibration["temperature"],
        calibration=f"{calibration['outcome']} on {calibration['rows']} rows",
        parity=trained.gave["parity"],
        milliseconds_per_answer=0.0,
        gate=GateReport(
            outcome="inconclusive",
            reasons=("not judged",),
            lock_digest=made_from.lock.digest,
            alpha=0.0,
            verdicts=(),
        ),
        certificate=Certificate(
            max_disagreement=task.fallback.max_disagreement,
            delta=task.fallback.delta,
            teacher_epoch=task.teacher.version,
            issued_at_us=now_us(),
            slices={},
            pairs={},
        ),
        lineage=_lineage(made_from),
        licence=dict(made_from.licence),
        files={},
    )


def judged_manifest(made_from: MadeFrom, manifest: Manifest, judged: Judged, milliseconds: float) -> Manifest:
    task = made_from.context.task
    return manifest.model_copy(
        update={
            "milliseconds_per_answer": milliseconds,
            "gate": judged.report,
            "certificate": judged.certificate,
            "reference": references_of(judged.sums),
            "fairness": fairness_statement(task),
            "play": None if task.play is None else task.play.model_dump(mode="json"),
            "signature": signature_of(task),
        }
    )


def _lineage(made_from: MadeFrom) -> Lineage:
    context, job = made_from.context, made_from.context.job
    assert job.id is not None
    return Lineage(
        job_id=job.id,
        cause=job.cause,
        alarm_id=job.alarm_id,
        parent=made_from.parent,
        teacher_epoch=context.task.teacher.version,
        rows_digest=_identity_digest(made_from.split.train),
        rows=counts_of(made_from.split),
        threads=THREADS,
        seed=SEED,
        libraries=libraries(),
    )


def counts_of(split: Split) -> dict[str, int]:
    parts = {"train": split.train, "dev": split.dev, "calibration": split.calibration, "gate": split.gate}
    return {name: len(rows) for name, rows in parts.items()}


def libraries() -> dict[str, str]:
    return {name: version(name) for name in LIBRARIES}


def _identity_digest(rows: Sequence[Row]) -> str:
    digest = hashlib.sha256()
    for row in rows:
        digest.update(f"{row.exchange_id}/{row.input_index} {row.digest}\n".encode())
    return digest.hexdigest()


def content_digest(rows: Sequence[Row]) -> str:
    """Of everything that training reads of the rows: texts by their digests, answers and weights to the last bit."""
    digest = hashlib.sha256()
    for row in rows:
        teacher = row.teacher
        digest.update(
            orjson.dumps((row.digest, teacher.probabilities, teacher.hard, teacher.other, row.weight))
        )
    return digest.hexdigest()
