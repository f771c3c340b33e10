"""Candidates from small to large over the same rows; the smallest that passes the locked gate is the student.

Every candidate is trained, up to and including the second, before the gate is opened, and each is judged
once: what is learned from one look never changes the next candidate.
"""

import logging
import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import orjson

from distill.context import say_progress
from distill.curation.manifest import MANIFEST_FILE
from distill.curation.split import Split
from distill.gating.gate import judge
from distill.gating.look import ALONE, Beside
from distill.gating.looks import take_look
from distill.gating.mix import inputs_per_day
from distill.gating.terms import looks_of, terms_digest
from distill.manifests import (
    MadeFrom,
    content_digest,
    counts_of,
    judged_manifest,
    libraries,
    unjudged_manifest,
)
from distill.registration.folder import Background, write_folder
from distill.registration.signing import sign
from distill.stages import Finished, Stage
from distill.training.candidates import SEED, THREADS, FittedCandidate, fit_candidate
from distill.training.judged_rows import judged_rows
from distill.training.processor import int8_flags
from distill.training.quantize import QUANTIZED, quantized
from distill.training.quantized import NotUsable, QuantizedArtifact, quantized_manifest
from ledger.artifacts import MANIFEST, GateReport, Manifest, publish, seal
from ledger.configuration import CandidateSection
from ledger.job_folders import AGREED_FILE, LOCK_FILE
from student.session import Student

LEAST_TRAINED = 2  # a small candidate that passes still has a larger one beside it to be compared with
TIMED_TEXTS = 100
REPORT_FILE = "gate.report.json"

log = logging.getLogger("distill.ladder")


@dataclass(frozen=True, slots=True)
class Published:
    """A student in the artifact registry, not yet in the control file."""

    artifact: str
    manifest_digest: str


@dataclass(frozen=True, slots=True)
class Looked:
    """What the gate said of one candidate, and on which rows it agreed with the teacher, by their digests."""

    candidate: str
    report: GateReport
    agreed: Mapping[str, bool]


@dataclass(frozen=True, slots=True)
class Climbed:
    """The student, if a candidate passed, and every look that was taken."""

    published: Published | None
    looks: tuple[Looked, ...]
    quantized: tuple[Published, ...] = ()  # its files in fewer bits that passed as well


def climb(made_from: MadeFrom, beside: Beside = ALONE) -> Climbed:
    """Train and judge, and publish the first candidate that passes."""
    sections = made_from.context.task.candidate
    trained: list[Finished] = []
    looks: list[Looked] = []
    for place, section in enumerate(sections):
        while len(trained) < min(len(sections), max(LEAST_TRAINED, place + 1)):
            trained.append(_trained(made_from, len(trained)))
        say_progress(f"gating {section.kind}", place / len(sections))
        judged = _judged(made_from, place, trained[place], beside)
        looks.append(_looked(judged))
        if looks[-1].report.outcome == "pass":
            published = _published(made_from, judged)
            return Climbed(published, tuple(looks), _quantized(made_from, place, judged, published, beside))
        said = "; ".join(looks[-1].report.reasons)
        log.info("%s: gate says %s: %s", section.kind, looks[-1].report.outcome, said)
    return Climbed(None, tuple(looks))


def _trained(made_from: MadeFrom, place: int) -> Finished:
    context, split = made_from.context, made_from.split
    section = context.task.candidate[place]
    parts = {"train": split.train, "dev": split.dev, "calibration": split.calibration}
    inputs = {
        "candidate": section.model_dump(mode="json"),
        "classes": list(context.task.classes),
        "rows": {name: content_digest(rows) for name, rows in parts.items()},
        "threads": THREADS,
        "seed": SEED,
        "libraries": libraries(),
    }
    return context.stage(
        Stage.TRAIN, inputs, lambda folder: _fit(made_from, section, folder), _inside(place, section)
    )


def _fit(made_from: MadeFrom, section: CandidateSection, folder: Path) -> dict[str, Any]:
    context, split = made_from.context, made_from.split
    cache = context.data_directory / "cache"
    fitted = fit_candidate(section, split, context.task.classes, folder / "artifact", say_progress, cache)
    shutil.rmtree(folder / "training", ignore_errors=True)  # its checkpoints have served
    return _told(fitted) | {"rows": counts_of(split)}


def _told(fitted: FittedCandidate) -> dict[str, Any]:
    """What the manifest and a person want to know of the training."""
    trained = fitted.trained
    best = next((look for look in trained.history if look.step == trained.best_step), None)
    return {
        "stop": str(trained.stop),
        "best_step": trained.best_step,
        "dev_nll": best.dev_nll if best else None,
        "dev_fidelity": best.dev_fidelity if best else None,
        "training_seconds": round(trained.seconds, 1),
        "calibration": asdict(fitted.calibration),
        "parity": fitted.parity,
    }


def _judged(made_from: MadeFrom, place: int, trained: Finished, beside: Beside) -> Finished:
    section = made_from.context.task.candidate[place]

    def work(folder: Path) -> dict[str, Any]:
        manifest = unjudged_manifest(made_from, section, trained)
        return _look(made_from, trained.folder / "artifact", manifest, folder, beside)

    inputs = _look_inputs(made_from, beside) | {"trained": trained.digest}
    return made_from.context.stage(Stage.GATE, inputs, work, _inside(place, section))


def _look_inputs(made_from: MadeFrom, beside: Beside) -> dict[str, Any]:
    return {
        "lock": made_from.lock.digest,
        "terms": terms_digest(made_from.context.task),
        "parent": made_from.parent,
        "labels": len(beside.labels),
        "licence": dict(made_from.licence),
    }


def _look(
    made_from: MadeFrom, source: Path, manifest: Manifest, folder: Path, beside: Beside
) -> dict[str, Any]:
    """Judge the files in `source` once, and seal a copy of them with what was found."""
    context, split, artifact = made_from.context, made_from.split, folder / "artifact"
    looks = looks_of(context.task)
    take_look(context.folder, made_from.lock, folder.parent.name, looks)
    shutil.rmtree(artifact, ignore_errors=True)  # of an attempt that was killed
    shutil.copytree(source, artifact)
    student = Student.load(artifact, seal(artifact, manifest), context.configuration.student)
    milliseconds = _milliseconds(student, split)
    rows = (*split.train, *split.dev, *split.calibration, *(entry.row for entry in split.gate))
    judged = judge(student, split.gate, context.task, made_from.lock, looks, beside, inputs_per_day(rows))
    (folder / REPORT_FILE).write_text(judged.report.model_dump_json(indent=2), encoding="utf-8")
    (folder / AGREED_FILE).write_bytes(orjson.dumps(dict(judged.agreed)))
    manifest = judged_manifest(made_from, manifest, judged, milliseconds)
    write_folder(artifact, manifest, judged.sums, _background(made_from))
    digest = seal(artifact, manifest)
    sign(artifact, context.configuration.student.signing_key)
    return {
        "precision": str(manifest.precision),
        "outcome": judged.report.outcome,
        "reasons": list(judged.report.reasons),
        "slices": {verdict.slice: verdict.outcome for verdict in judged.report.verdicts},
        "milliseconds_per_answer": milliseconds,
        "manifest_digest": digest,
    }


def _quantized(
    made_from: MadeFrom, place: int, judged: Finished, published: Published, beside: Beside
) -> tuple[Published, ...]:
    """The student's INT8 files that pass too, in the order that was locked: the first that does not ends it."""
    context, section = made_from.context, made_from.context.task.candidate[place]
    if not section.int8:
        return ()
    say_progress(f"quantizing {section.kind}", 0.0)
    made = _quantize(made_from, place, judged, published)
    original = Student.load(
        judged.folder / "artifact", published.manifest_digest, context.configuration.student
    )
    found: list[Published] = []
    for precision in QUANTIZED:
        source = made.folder / precision
        if not source.is_dir():
            continue
        say_progress(f"gating {section.kind} {precision}", 0.0)
        manifest = Manifest.model_validate_json((made.folder / f"{precision}.json").read_bytes())
        inputs = _look_inputs(made_from, beside) | {"quantized": made.digest, "precision": precision}
        seen = context.stage(
            Stage.GATE,
            inputs,
            partial(_look, made_from, source, manifest, beside=replace(beside, original=original)),
            _inside(place, section),
        )
        if seen.gave["outcome"] != "pass":
            log.info("%s %s: %s", section.kind, precision, "; ".join(seen.gave["reasons"]))
            break
        found.append(_published(made_from, seen))
    return tuple(found)


def _quantize(made_from: MadeFrom, place: int, judged: Finished, published: Published) -> Finished:
    section = made_from.context.task.candidate[place]

    def work(folder: Path) -> dict[str, Any]:
        artifact = judged.folder / "artifact"
        source = Manifest.model_validate_json((artifact / MANIFEST).read_bytes())
        rows = judged_rows(made_from.split, artifact, section.max_tokens)
        gave: dict[str, Any] = {}
        for one in quantized(artifact, folder, rows):
            gave[str(one.precision)] = _said_of(one)
            if isinstance(one, QuantizedArtifact):
                manifest = quantized_manifest(source, published.artifact, one)
                (folder / f"{one.precision}.json").write_text(manifest.model_dump_json(), encoding="utf-8")
        return gave

    inputs = {"from": published.manifest_digest, "processor": list(int8_flags())}
    return made_from.context.stage(Stage.QUANTIZE, inputs, work, _inside(place, section))


def _said_of(one: QuantizedArtifact | NotUsable) -> str:
    if isinstance(one, NotUsable):
        return one.reason
    return (
        f"{one.bytes / 2**20:.1f} MiB of {one.from_bytes / 2**20:.1f}, {one.flips.flipped} of {one.flips.rows} answers"
        f" another class, {one.padding.flips} of {one.padding.rows} by padding"
    )


def _background(made_from: MadeFrom) -> Background:
    task = made_from.context.task
    return Background(
        lock_path=made_from.context.folder / LOCK_FILE,
        teacher={"url": task.teacher.url, "dialect": task.dialect},
        data=orjson.loads((made_from.chosen.stage.folder / MANIFEST_FILE).read_bytes()),
        run=task.model_dump(mode="json", include={"candidate", "gate", "criteria", "slice", "classes"}),
    )


def _milliseconds(student: Student, split: Split) -> float:
    """Processor time of one answer, one at a time as a quiet deployment would ask."""
    texts = [row.text for row in (*split.dev, *split.calibration)[:TIMED_TEXTS]]
    started = time.process_time()
    for text in texts:
        student.answer([text])
    return round((time.process_time() - started) * 1000 / max(1, len(texts)), 4)


def _looked(judged: Finished) -> Looked:
    """From the stage's folder, whether it was judged now or by an earlier attempt."""
    report = GateReport.model_validate_json((judged.folder / REPORT_FILE).read_bytes())
    return Looked(judged.folder.parent.name, report, orjson.loads((judged.folder / AGREED_FILE).read_bytes()))


def _published(made_from: MadeFrom, judged: Finished) -> Published:
    digest = judged.gave["manifest_digest"]
    return Published(publish(judged.folder / "artifact", made_from.context.data_directory, digest), digest)


def _inside(place: int, section: CandidateSection) -> str:
    return f"{place + 1}-{section.kind}"
