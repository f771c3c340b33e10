"""Quality on every corpus: a teacher, the traffic it answered, a job, and its student on rows that nobody saw."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.distillation.corpora import load_corpus
from benchmarks.distillation.teachers import Answered, fitted_teacher, vectors_of
from benchmarks.distillation.trials import (
    Measured,
    Trial,
    TrialSettings,
    load_student,
    measure,
    run_job,
    write_deployment,
)
from benchmarks.report import Floor, Report, Table
from examples.helpdesk.corpus import fetch_encoder
from ledger.artifacts import Manifest

CORPORA_MEASURED = ("newsgroups", "questions", "messages", "licences")
TEACHER_ROWS = {"newsgroups": 3500, "questions": 2000, "messages": 1500, "licences": 4000}
HELD_OUT_ROWS = {"newsgroups": 2000, "questions": 1000, "messages": 1000, "licences": 2000}
MOST_TRAFFIC = 6000
LADDER = """
[[task.candidate]]
kind = "static"
encoder = "{encoder}"
max_tokens = 64
epochs = 12
learning_rate = 1e-3
budget_seconds = 60

[[task.candidate]]
kind = "transformer"
encoder = "{encoder}"
layers = [0, 5]
max_tokens = 64
epochs = 4
learning_rate = 5e-4
budget_seconds = 200
"""


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a trial of a corpus needs: disjoint rows with the teacher's answers."""

    name: str
    classes: tuple[str, ...]
    traffic: Answered
    held_out: Answered


@dataclass(frozen=True, slots=True)
class Judged:
    """One artifact of a trial."""

    corpus: str
    manifest: Manifest
    measured: Measured
    trial: Trial
    held_out: int


def prepare(name: str, cache: Path, seed: int, most_traffic: int = MOST_TRAFFIC) -> Prepared:
    corpus = load_corpus(name, cache, seed)
    taught, held = TEACHER_ROWS[name], HELD_OUT_ROWS[name]
    traffic = min(most_traffic, len(corpus.rows) - taught - held)
    for_teacher, for_traffic, for_measuring = corpus.parts(taught, traffic, held)
    teacher = fitted_teacher(corpus, for_teacher, cache)
    answered = (teacher.answer(rows, vectors_of(rows, cache)) for rows in (for_traffic, for_measuring))
    return Prepared(name, corpus.classes, *answered)


def distil(prepared: Prepared, folder: Path, settings: TrialSettings) -> tuple[Trial, list[Judged]]:
    write_deployment(folder, prepared.classes, [prepared.traffic], settings)
    trial = run_job(folder)
    judged = []
    for artifact in trial.artifacts:
        student, manifest = load_student(folder, artifact)
        held_out = prepared.held_out
        judged.append(Judged(prepared.name, manifest, measure(student, held_out), trial, len(held_out.rows)))
    return trial, judged


def report(cache: Path, folder: Path, seed: int, corpora: Sequence[str] = CORPORA_MEASURED) -> Report:
    settings = TrialSettings(LADDER.format(encoder=fetch_encoder(cache).resolve()))
    judged: list[Judged] = []
    failed = []
    for name in corpora:
        trial, found = distil(prepare(name, cache, seed), folder / name, settings)
        print(f"{name}: {trial.seconds:.0f} s, {len(found)} students {'; '.join(trial.reasons)}", flush=True)
        judged += found
        failed += [] if found else [(name, "no student", *[""] * 6, "; ".join(trial.reasons)[:120])]
    rows = [*map(_row, judged), *failed]
    header = (
        "corpus",
        "student",
        "teacher's accuracy",
        "accuracy",
        "of the teacher's",
        "fidelity",
        "ECE",
        "nats",
        "s",
    )
    return Report(
        "quality", (Table("Students on rows that nobody saw", header, tuple(rows)),), _floors(judged)
    )


def _row(judged: Judged) -> tuple[str, ...]:
    measured = judged.measured
    return (
        judged.corpus,
        judged.manifest.kind,
        f"{measured.teacher_accuracy:.3f}",
        f"{measured.accuracy:.3f}",
        f"{measured.share_of_teacher:.1%}",
        f"{measured.fidelity:.3f}",
        f"{measured.calibration_error:.3f}",
        f"{measured.nll:.3f}",
        f"{judged.trial.seconds:.0f}",
    )


def _floors(judged: Sequence[Judged]) -> tuple[Floor, ...]:
    """Of the student that each job registered first; pooled over the corpora by their held-out rows."""
    first = list({entry.corpus: entry for entry in reversed(judged)}.values())
    rows = sum(entry.held_out for entry in first)
    pooled = sum(entry.measured.fidelity * entry.held_out for entry in first) / rows if rows else None
    shares = [entry.measured.share_of_teacher for entry in first]
    errors = [entry.measured.calibration_error for entry in first]
    return (
        Floor("least share of the teacher's accuracy", min(shares, default=None), 0.96, at_least=True),
        Floor("the same, stretch", min(shares, default=None), 0.98, at_least=True, stretch=True),
        Floor("pooled fidelity", pooled, 0.92, at_least=True),
        Floor("pooled fidelity, stretch", pooled, 0.95, at_least=True, stretch=True),
        Floor("largest calibration error", max(errors, default=None), 0.03),
    )
