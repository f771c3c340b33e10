"""Which rows a job works on: collected, locked for the gate, divided, curated and listed; once, however often it is
resumed. Texts stay in the record: what is kept of a row is where it stands there, and numbers."""

import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sqlalchemy import Engine
from sqlmodel import Session

from distill.collecting import collect
from distill.context import CannotDistil, JobContext, say_progress
from distill.curation.coverage import CoverageReport, audit
from distill.curation.curating import Curated, curated_split
from distill.curation.deduplicating import Distinct, distinct_rows, quarantine_queue
from distill.curation.embedded import lexical
from distill.curation.kept import read_kept, write_kept
from distill.curation.leakage import without_leaks
from distill.curation.manifest import Curation, StageCounts, write_manifest
from distill.curation.replay import drawn_replay, earlier_training_rows
from distill.curation.review import Answer, Decision, answers_of_task, write_queue
from distill.curation.rows import Ingested, Row
from distill.curation.split import GateRow, LockedRows, Split, draw_gate, split_rows
from distill.curation.sufficiency import sufficiency
from distill.gating.answers import Answers
from distill.gating.lock import Lock, lock_gate, read_lock, rows_locked_before
from distill.stages import Finished, Stage
from ledger.erasures import erasures_past_the_record
from ledger.job_folders import LOCK_FILE, ROWS_FILE, write_rows

KEPT_FILE = "rows.kept.json"

log = logging.getLogger("distill.job")


@dataclass(frozen=True, slots=True)
class Chosen:
    """The rows of a job, its lock, and the stage in which they were chosen, with the data manifest in its folder."""

    lock: Lock
    split: Split
    stage: Finished


@dataclass(frozen=True, slots=True)
class _Made:
    """One pass over the record."""

    ingested: Ingested
    distinct: Distinct
    before_curation: Split  # with the replayed rows
    replayed: int
    split: Split
    curated: Curated
    coverage: CoverageReport


def choose_rows(context: JobContext, engine: Engine, incumbent: Answers | None = None) -> Chosen:
    """Choose them, or find them chosen; once more if an erasure passed by meanwhile.

    An erasure looks through the lists that lie there when it has left the record. Lists that were written later,
    from rows that were read earlier, are therefore thrown away.
    """
    while True:
        erased = _erasures(engine)
        was_locked = (context.folder / LOCK_FILE).exists()
        stage = context.stage(
            Stage.CURATE, _inputs(context), lambda folder: _choose(context, engine, incumbent, folder)
        )
        chosen = _read(context, stage)
        if _erasures(engine) == erased:
            return chosen
        log.info("rows were erased meanwhile: they are chosen anew action=rows_erased")
        shutil.rmtree(stage.folder)
        for name in (ROWS_FILE,) if was_locked else (ROWS_FILE, LOCK_FILE):
            (context.folder / name).unlink(missing_ok=True)


def _erasures(engine: Engine) -> int:
    with Session(engine) as session:
        return erasures_past_the_record(session)


def _inputs(context: JobContext) -> dict[str, Any]:
    """What decides the rows but for the record: a job that is resumed keeps those that it has."""
    task = context.task
    return {
        "job": context.job.id,
        "teacher": task.teacher.version,
        "classes": list(task.classes),
        "curation": task.curation.model_dump(mode="json"),
        "gate": task.gate.model_dump(mode="json"),
        "slices": [section.model_dump(mode="json") for section in task.slice],
    }


def _choose(context: JobContext, engine: Engine, incumbent: Answers | None, folder: Path) -> dict[str, Any]:
    with Session(engine) as session:
        earlier = earlier_training_rows(session, context.data_directory, context.task.name)
    said = answers_of_task(context.folder.parent, context.task.name)
    locked_before = dict(rows_locked_before(context.folder.parent, context.task.name, but=context.folder))
    earlier_rows = {digest for digests in earlier.values() for digest in digests}
    ingested = collect(context, engine, earlier_rows | locked_before.keys())
    made = _made(context, ingested, incumbent, said, locked_before)
    split = made.split
    parts = {"train": split.train, "dev": split.dev, "calibration": split.calibration}
    gate = tuple(entry.row for entry in split.gate)
    lists = {name: _digests(rows) for name, rows in parts.items()}
    write_rows(context.folder, lists)
    write_kept(folder / KEPT_FILE, parts | {"gate": gate})
    waiting = (*made.curated.review, *quarantine_queue(made.distinct, context.task.classes))
    write_queue(context.folder, context.task.name, waiting)
    curation = Curation(
        ingested=ingested,
        stages=_counts(made),
        parts=lists | {"gate": {entry.row.digest for entry in split.gate}},
        train=split.train,
        weights=made.curated.weights,
        coverage=made.coverage,
        replay_jobs=sorted(earlier),
    )
    return _told(made, len(waiting)) | {"manifest": write_manifest(folder, context.task, curation)}


def _made(
    context: JobContext,
    ingested: Ingested,
    incumbent: Answers | None,
    said: Mapping[str, Answer],
    locked_before: LockedRows,
) -> _Made:
    task = context.task
    say_progress("looking for duplicates", 0.0)
    released = frozenset(digest for digest, answer in said.items() if answer.decision is Decision.KEEP)
    distinct = distinct_rows(ingested.rows, task.curation, released)
    enough = sufficiency(ingested, distinct.rows, task)
    if enough.stops:
        raise CannotDistil(*enough.stops)
    lock = _locked(context, distinct.rows, locked_before)
    split = split_rows(distinct.rows, lock.rows, locked_before)
    space = lexical((*distinct.rows, *ingested.replay))
    held = lock.rows.keys() | locked_before.keys()
    split = without_leaks(split, task.curation, space, [row for row in ingested.replay if row.digest in held])
    replay = drawn_replay(ingested.replay, len(split.train), task.curation.replay_share, held)
    split = replace(split, train=(*split.train, *replay))
    say_progress("weighing rows", 0.0)
    after, found = curated_split(split, distinct.rows, task, space, incumbent, said)
    if not after.train:
        left_out = {str(reason): count for reason, count in found.left_out.items()}
        raise CannotDistil(f"no row is left to train on: {len(split.train)} were left out, {left_out}")
    coverage = audit(distinct.rows, found.cells, after.train)
    return _Made(ingested, distinct, split, len(replay), after, found, coverage)


def _locked(context: JobContext, rows: Sequence[Row], before: LockedRows) -> Lock:
    """Fix the gate before any row is given to training; a lock that this job made before stands."""
    path = context.folder / LOCK_FILE
    if path.exists():
        return read_lock(path)
    drawn = draw_gate(rows, context.task.rules, context.task.gate, before)
    return lock_gate(context.folder, context.task, drawn)


def _counts(made: _Made) -> tuple[StageCounts, ...]:
    before, distinct = made.before_curation, made.distinct
    parted = sum(map(len, (before.gate, before.train, before.dev, before.calibration))) - made.replayed
    duplicates = {"near_duplicate": distinct.merged, "quarantined": len(distinct.quarantined)}
    return (
        StageCounts("distinct", len(made.ingested.rows), len(distinct.rows), duplicates),
        StageCounts("split", len(distinct.rows), parted, before.left_out),
        StageCounts("curate", len(before.train), len(made.curated.rows), made.curated.left_out),
    )


def _told(made: _Made, waiting: int) -> dict[str, Any]:
    """For people: what came in, what was left out and why, and what is in each part."""
    split, weights = made.split, made.curated.weights
    parts = {"train": split.train, "dev": split.dev, "calibration": split.calibration, "gate": split.gate}
    agreement = made.ingested.agreement
    return {
        "rows": len(made.ingested.rows),
        "unusable": {str(reason): count for reason, count in made.ingested.unusable.items()},
        "left_out": {
            str(name): count for stage in _counts(made) for name, count in stage.left_out.items() if count
        },
        "replayed": made.replayed,
        "parts": {name: len(rows) for name, rows in parts.items()},
        "effective_rows": round(weights.effective, 1),
        "for_review": waiting,
        "teacher_agrees_with_itself": f"{agreement.agreements} of {agreement.inputs} repeated inputs",
        "coverage": made.coverage.sentence,
    }


def _read(context: JobContext, stage: Finished) -> Chosen:
    """The rows with their texts, as far as they still are in the record."""
    lock = read_lock(context.folder / LOCK_FILE)
    kept = read_kept(stage.folder / KEPT_FILE, context.data_directory)
    if kept.gone:
        log.warning("%d chosen rows are no longer in the record action=rows_gone", kept.gone)
    parts = kept.parts
    gate = tuple(GateRow(row, lock.rows[row.digest]) for row in parts["gate"] if row.digest in lock.rows)
    return Chosen(lock, Split(gate, parts["train"], parts["dev"], parts["calibration"]), stage)


def _digests(rows: Sequence[Row]) -> set[str]:
    return {digest for row in rows for digest in row.digests}
