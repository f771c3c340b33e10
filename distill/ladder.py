"""Candidates from small to large over the same rows; the smallest that passes the locked gate is the student.

Every candidate is trained, up to and including the second, before the gate is opened, and each is judged
once: what is learned from one look never changes the next candidate.
"""

import hashlib
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from distill.candidates import FittedCandidate, fit_candidate
from distill.context import JobContext
from distill.gating.gate import Judged, judge
from distill.gating.lock import Lock
from distill.gating.look import ALONE, Beside
from distill.gating.looks import take_look
from distill.gating.mix import inputs_per_day
from distill.gating.terms import looks_of, signature_of
from distill.registration.folder import Background, write_folder
from distill.registration.register import fairness_statement
from distill.registration.signing import sign
from distill.rows import Row
from distill.split import Split
from ledger.artifacts import Certificate, GateReport, Lineage, Manifest, publish, seal
from ledger.clock import now_us
from ledger.job_folders import LOCK_FILE
from monitor.statistics import references_of
from student.session import Student

LEAST_TRAINED = 2  # a small candidate that passes still has a larger one beside it to be compared with
TIMED_TEXTS = 100

Say = Callable[[str, float], None]

log = logging.getLogger("distill.ladder")


@dataclass(frozen=True, slots=True)
class Published:
    """A student in the artifact registry, not yet in the control file."""

    artifact: str
    manifest_digest: str


@dataclass(frozen=True, slots=True)
class Climbed:
    """The student, if a candidate passed, and what the gate said of each that was judged."""

    published: Published | None
    judged: tuple[Judged, ...]


@dataclass(frozen=True, slots=True)
class Sealed:
    """A trained and exported candidate in its folder, loadable, not yet judged."""

    folder: Path
    manifest: Manifest
    digest: str


def climb(
    context: JobContext,
    split: Split,
    lock: Lock,
    parent: str | None,
    licence: Mapping[str, Any],
    say: Say,
    beside: Beside = ALONE,
) -> Climbed:
    """Train, judge and publish the first candidate that passes."""
    sections = context.task.candidate
    sealed: list[Sealed] = []
    seen: list[Judged] = []
    for place, section in enumerate(sections):
        while len(sealed) < min(len(sections), max(LEAST_TRAINED, place + 1)):
            sealed.append(_train(context, split, lock, parent, licence, say, len(sealed)))
        say(f"gating {section.kind}", place / len(sections))
        judged = _judge(context, sealed[place], split, lock, beside)
        seen.append(judged)
        if judged.report.outcome == "pass":
            return Climbed(_publish(context, sealed[place], judged), tuple(seen))
        log.info(
            "%s: gate says %s: %s", section.kind, judged.report.outcome, "; ".join(judged.report.reasons)
        )
    return Climbed(None, tuple(seen))


def _train(
    context: JobContext,
    split: Split,
    lock: Lock,
    parent: str | None,
    licence: Mapping[str, Any],
    say: Say,
    place: int,
) -> Sealed:
    section = context.task.candidate[place]
    folder = context.folder / f"{place + 1}-{section.kind}"
    folder.mkdir(exist_ok=True)
    fitted = fit_candidate(
        section, split, context.task.classes, folder / "artifact", say, context.data_directory / "cache"
    )
    manifest = Manifest(
        task=context.task.name,
        kind=section.kind,
        classes=context.task.classes,
        max_tokens=section.max_tokens,
        temperature=fitted.calibration.temperature,
        calibration=f"{fitted.calibration.outcome} on {fitted.calibration.rows} rows",
        parity=fitted.parity,
        milliseconds_per_answer=0.0,
        gate=_unjudged(lock),
        certificate=_uncertified(context),
        lineage=_lineage(context, split, parent, fitted),
        licence=dict(licence),
        files={},
    )
    sealed = Sealed(folder / "artifact", manifest, seal(folder / "artifact", manifest))
    return _timed(context, sealed, split)


def _timed(context: JobContext, sealed: Sealed, split: Split) -> Sealed:
    """Measure one answer's processor time, one at a time as a quiet deployment would ask."""
    student = _load(context, sealed)
    texts = [row.text for row in (*split.dev, *split.calibration)[:TIMED_TEXTS]]
    started = time.process_time()
    for text in texts:
        student.answer([text])
    milliseconds = (time.process_time() - started) * 1000 / max(1, len(texts))
    manifest = sealed.manifest.model_copy(update={"milliseconds_per_answer": round(milliseconds, 4)})
    return replace(sealed, manifest=manifest, digest=seal(sealed.folder, manifest))


def _judge(context: JobContext, sealed: Sealed, split: Split, lock: Lock, beside: Beside) -> Judged:
    student, looks = _load(context, sealed), looks_of(context.task)
    take_look(context.folder, lock, sealed.folder.parent.name, looks)
    rows = (*split.train, *split.dev, *split.calibration, *(entry.row for entry in split.gate))
    judged = judge(student, split.gate, context.task, lock, looks, beside, inputs_per_day(rows))
    report = judged.report.model_dump_json(indent=2)
    (sealed.folder.parent / "gate.report.json").write_text(report, encoding="utf-8")
    return judged


def _publish(context: JobContext, sealed: Sealed, judged: Judged) -> Published:
    manifest = sealed.manifest.model_copy(
        update={
            "gate": judged.report,
            "certificate": judged.certificate,
            "reference": references_of(judged.sums),
            "fairness": fairness_statement(context.task),
            "play": None if context.task.play is None else context.task.play.model_dump(mode="json"),
            "signature": signature_of(context.task),
        }
    )
    write_folder(sealed.folder, manifest, judged.sums, _background(context))
    digest = seal(sealed.folder, manifest)
    sign(sealed.folder, context.configuration.student.signing_key)
    return Published(publish(sealed.folder, context.data_directory, digest), digest)


def _background(context: JobContext) -> Background:
    task = context.task
    return Background(
        lock_path=context.folder / LOCK_FILE,
        teacher={"url": task.teacher.url, "dialect": task.dialect},
        run=task.model_dump(mode="json", include={"candidate", "gate", "criteria", "slice", "classes"}),
    )


def _load(context: JobContext, sealed: Sealed) -> Student:
    return Student.load(sealed.folder, sealed.digest, context.configuration.student)


def _lineage(context: JobContext, split: Split, parent: str | None, fitted: FittedCandidate) -> Lineage:
    job = context.job
    assert job.id is not None
    return Lineage(
        job_id=job.id,
        cause=job.cause,
        alarm_id=job.alarm_id,
        parent=parent,
        teacher_epoch=context.task.teacher.version,
        rows_digest=_rows_digest(split.train),
        rows={
            "train": len(split.train),
            "dev": len(split.dev),
            "calibration": len(split.calibration),
            "gate": len(split.gate),
        },
        threads=fitted.threads,
        seed=fitted.seed,
        libraries={name: version(name) for name in ("torch", "transformers", "onnx", "onnxruntime", "numpy")},
    )


def _rows_digest(rows: Sequence[Row]) -> str:
    digest = hashlib.sha256()
    for row in rows:
        digest.update(f"{row.exchange_id}/{row.input_index} {row.digest}\n".encode())
    return digest.hexdigest()


def _unjudged(lock: Lock) -> GateReport:
    return GateReport(
        outcome="inconclusive", reasons=("not judged",), lock_digest=lock.digest, alpha=0.0, verdicts=()
    )


def _uncertified(context: JobContext) -> Certificate:
    fallback = context.task.fallback
    return Certificate(
        max_disagreement=fallback.max_disagreement,
        delta=fallback.delta,
        teacher_epoch=context.task.teacher.version,
        issued_at_us=now_us(),
        slices={},
        pairs={},
    )
