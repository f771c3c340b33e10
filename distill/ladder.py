"""Candidates from small to large over the same rows; the smallest that passes the locked gate is the student.

Every candidate is trained, up to and including the second, before the gate is opened, and each is judged
once: what is learned from one look never changes the next candidate.
"""

import hashlib
import logging
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import orjson

from distill.context import JobContext, say_progress
from distill.curation.rows import Row
from distill.curation.split import Split
from distill.gating.gate import Judged, judge
from distill.gating.lock import Lock
from distill.stages import Finished, Stage
from distill.training.candidates import SEED, THREADS, FittedCandidate, fit_candidate
from ledger.artifacts import Certificate, GateReport, Lineage, Manifest, publish, seal
from ledger.clock import now_us
from ledger.configuration import CandidateSection
from monitor.statistics import references_of
from student.session import Student

LEAST_TRAINED = 2  # a small candidate that passes still has a larger one beside it to be compared with
TIMED_TEXTS = 100
LIBRARIES = ("torch", "transformers", "onnx", "onnxruntime", "numpy")

log = logging.getLogger("distill.ladder")


@dataclass(frozen=True, slots=True)
class Published:
    """A student in the artifact registry, not yet in the control file."""

    artifact: str
    manifest_digest: str


@dataclass(frozen=True, slots=True)
class Climb:
    """What every candidate of a job is made from."""

    context: JobContext
    split: Split
    lock: Lock
    parent: str | None
    licence: Mapping[str, Any]


def climb(
    context: JobContext, split: Split, lock: Lock, parent: str | None, licence: Mapping[str, Any]
) -> Published | None:
    """Train, judge and publish the first candidate that passes; None when none does."""
    made_from = Climb(context, split, lock, parent, licence)
    sections = context.task.candidate
    trained: list[Finished] = []
    for place, section in enumerate(sections):
        while len(trained) < min(len(sections), max(LEAST_TRAINED, place + 1)):
            trained.append(_trained(made_from, len(trained)))
        say_progress(f"gating {section.kind}", place / len(sections))
        judged = _judged(made_from, place, trained[place])
        if judged.gave["outcome"] == "pass":
            digest = judged.gave["manifest_digest"]
            return Published(publish(judged.folder / "artifact", context.data_directory, digest), digest)
        said = "; ".join(judged.gave["reasons"])
        log.info("%s: gate says %s: %s", section.kind, judged.gave["outcome"], said)
    return None


def _trained(made_from: Climb, place: int) -> Finished:
    context, split = made_from.context, made_from.split
    section = context.task.candidate[place]
    parts = {"train": split.train, "dev": split.dev, "calibration": split.calibration}
    inputs = {
        "candidate": section.model_dump(mode="json"),
        "classes": list(context.task.classes),
        "rows": {name: _content_digest(rows) for name, rows in parts.items()},
        "threads": THREADS,
        "seed": SEED,
        "libraries": _libraries(),
    }
    return context.stage(
        Stage.TRAIN, inputs, lambda folder: _fit(made_from, section, folder), _inside(place, section)
    )


def _fit(made_from: Climb, section: CandidateSection, folder: Path) -> dict[str, Any]:
    context, split = made_from.context, made_from.split
    cache = context.data_directory / "cache"
    fitted = fit_candidate(section, split, context.task.classes, folder / "artifact", say_progress, cache)
    return _told(fitted) | {"rows": _counts(split)}


def _told(fitted: FittedCandidate) -> dict[str, Any]:
    """What the manifest and a person want to know of the training."""
    trained = fitted.trained
    last = trained.history[-1] if trained.history else None
    best = next((look for look in trained.history if look.step == trained.best_step), last)
    return {
        "stop": str(trained.stop),
        "best_step": trained.best_step,
        "dev_nll": best.dev_nll if best else None,
        "dev_fidelity": best.dev_fidelity if best else None,
        "training_seconds": round(trained.seconds, 1),
        "calibration": asdict(fitted.calibration),
        "parity": fitted.parity,
    }


def _judged(made_from: Climb, place: int, trained: Finished) -> Finished:
    context = made_from.context
    section = context.task.candidate[place]
    inputs = {
        "trained": trained.digest,
        "lock": made_from.lock.digest,
        "looks": len(context.task.candidate),
        "parent": made_from.parent,
        "licence": dict(made_from.licence),
    }

    def work(folder: Path) -> dict[str, Any]:
        return _look(made_from, section, trained, folder)

    return context.stage(Stage.GATE, inputs, work, _inside(place, section))


def _look(made_from: Climb, section: CandidateSection, trained: Finished, folder: Path) -> dict[str, Any]:
    """Judge the candidate once, and seal it with what was found."""
    context, split, artifact = made_from.context, made_from.split, folder / "artifact"
    shutil.rmtree(artifact, ignore_errors=True)  # of an attempt that was killed
    shutil.copytree(trained.folder / "artifact", artifact)
    manifest = _unjudged(made_from, section, trained)
    student = Student.load(artifact, seal(artifact, manifest), context.configuration.student)
    milliseconds = _milliseconds(student, split)
    judged = judge(student, split.gate, context.task, made_from.lock, len(context.task.candidate))
    (folder / "gate.report.json").write_text(judged.report.model_dump_json(indent=2), encoding="utf-8")
    digest = seal(artifact, _judged_manifest(manifest, judged, milliseconds))
    verdicts = {verdict.slice: verdict.outcome for verdict in judged.report.verdicts}
    return {
        "outcome": judged.report.outcome,
        "reasons": list(judged.report.reasons),
        "verdicts": verdicts,
        "milliseconds_per_answer": milliseconds,
        "manifest_digest": digest,
    }


def _milliseconds(student: Student, split: Split) -> float:
    """Processor time of one answer, one at a time as a quiet deployment would ask."""
    texts = [row.text for row in (*split.dev, *split.calibration)[:TIMED_TEXTS]]
    started = time.process_time()
    for text in texts:
        student.answer([text])
    return round((time.process_time() - started) * 1000 / max(1, len(texts)), 4)


def _unjudged(made_from: Climb, section: CandidateSection, trained: Finished) -> Manifest:
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


def _judged_manifest(manifest: Manifest, judged: Judged, milliseconds: float) -> Manifest:
    return manifest.model_copy(
        update={
            "milliseconds_per_answer": milliseconds,
            "gate": judged.report,
            "certificate": judged.certificate,
            "reference": references_of(judged.sums),
        }
    )


def _lineage(made_from: Climb) -> Lineage:
    context, job = made_from.context, made_from.context.job
    assert job.id is not None
    return Lineage(
        job_id=job.id,
        cause=job.cause,
        alarm_id=job.alarm_id,
        parent=made_from.parent,
        teacher_epoch=context.task.teacher.version,
        rows_digest=_identity_digest(made_from.split.train),
        rows=_counts(made_from.split),
        threads=THREADS,
        seed=SEED,
        libraries=_libraries(),
    )


def _inside(place: int, section: CandidateSection) -> str:
    return f"{place + 1}-{section.kind}"


def _counts(split: Split) -> dict[str, int]:
    parts = {"train": split.train, "dev": split.dev, "calibration": split.calibration, "gate": split.gate}
    return {name: len(rows) for name, rows in parts.items()}


def _libraries() -> dict[str, str]:
    return {name: version(name) for name in LIBRARIES}


def _identity_digest(rows: Sequence[Row]) -> str:
    digest = hashlib.sha256()
    for row in rows:
        digest.update(f"{row.exchange_id}/{row.input_index} {row.digest}\n".encode())
    return digest.hexdigest()


def _content_digest(rows: Sequence[Row]) -> str:
    """Of everything that training reads of the rows: texts by their digests, answers and weights to the last bit."""
    digest = hashlib.sha256()
    for row in rows:
        weights = (row.inclusion, row.repeats, row.emphasis)
        digest.update(orjson.dumps((row.digest, row.teacher.probabilities, weights)))
    return digest.hexdigest()
