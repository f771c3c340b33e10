"""One distillation job, from logged exchanges to a sealed artifact, in a process of its own.

It writes nothing but its own folder and the artifact registry; what it says on stdout (a JSON document a
line) is carried to the control file by the worker, which also registers the student.
"""

import argparse
import json
import logging
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import Engine
from sqlmodel import Session, col, select

from distill.context import JobContext
from distill.emphasis import emphasised
from distill.gating.behaviour import BehaviourFileWrong
from distill.gating.beside import beside_of
from distill.gating.concluding import conclude
from distill.gating.lock import Lock, check_lock, lock_gate, read_lock, rows_locked_before
from distill.gating.terms import Unsigned, signature_of
from distill.registration.register import RegistrationRefused, fairness_statement, licence_record
from distill.rows import Ingested, ingest
from distill.split import Split, draw_gate, split_rows
from ledger import alarms
from ledger.artifacts import ArtifactError, artifact_folder
from ledger.configuration import Configuration, TaskSection, load
from ledger.control_file import open_control_file_read_only
from ledger.erasures import erasures_past_the_record, jobs_of_task
from ledger.job_folders import LOCK_FILE, ROWS_FILE, job_folder, write_rows
from ledger.logs import log_to_stderr
from ledger.slices import rule_of
from ledger.tables import AlarmRow, JobRow, StudentRow
from monitor.training_window import rows_wanted
from student.session import Student

COLLECT_POLL_SECONDS = 3.0

log = logging.getLogger("distill.job")


class CannotDistil(Exception):
    """The job ends without a student, for the reasons given."""

    def __init__(self, *reasons: str) -> None:
        self.reasons = list(reasons)
        super().__init__("; ".join(reasons))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m distill.job")
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--job", type=int, required=True)
    options = parser.parse_args(arguments)
    log_to_stderr("distill")
    try:
        configuration = load(options.config)
        log_to_stderr("distill", configuration.deployment.log_format, logging.WARNING)
        logging.getLogger("distill").setLevel(logging.INFO)  # the exporter's notes are for its own authors
        _say(**run_job(configuration, options.job))
    except (CannotDistil, RegistrationRefused, Unsigned, BehaviourFileWrong) as error:
        _say(outcome="failed", reasons=getattr(error, "reasons", [str(error)]))
    except Exception as error:  # whatever the training libraries raise ends as the job's reason
        log.exception("job %d failed action=job_failed", options.job)
        _say(outcome="failed", reasons=[f"{type(error).__name__}: {error}"])
    return 0


def run_job(configuration: Configuration, job_id: int) -> dict[str, object]:
    """Everything that a job does, in order."""
    engine = open_control_file_read_only(configuration.deployment.data_directory)
    context = _context(configuration, engine, job_id)
    licence = licence_record(context.task)
    fairness_statement(context.task)
    signature_of(context.task)
    lock, split = choose_rows(context, engine)
    _import_torch()
    from distill.ladder import climb  # imports torch, which serving installs do not have

    incumbent = _incumbent(engine, context.task)
    loaded = _loaded(context, incumbent)
    if loaded is not None:
        say_progress("looking for the incumbent's failures", 0.0)
        split = emphasised(split, loaded)
    beside = beside_of(engine, context.task, split, loaded)
    parent = incumbent.artifact if incumbent else None
    climbed = climb(context, split, lock, parent, licence, say_progress, beside)
    check_lock(context.folder / LOCK_FILE, lock, split.gate)
    outcome = conclude(context.folder, context.task, split, climbed.judged, _jobs_before(engine, context))
    conclusion, student = outcome.plain(context.task.teacher.version), climbed.published
    if student is None:
        reasons = ["no candidate passed its gate", *_gate_reasons(context.folder), *outcome.reasons]
        return {"outcome": "failed", "reasons": reasons, "conclusion": conclusion}
    return {
        "outcome": "registered",
        "artifact": student.artifact,
        "manifest_digest": student.manifest_digest,
        "conclusion": conclusion,
    }


def say_progress(phase: str, share: float) -> None:
    """Tell the worker what the job does now and how far it is, 0 to 1."""
    _say(phase=phase, progress=round(share, 4))


def _say(**document: object) -> None:
    print(json.dumps(document), flush=True)  # noqa: T201  # the worker reads it


def _context(configuration: Configuration, engine: Engine, job_id: int) -> JobContext:
    with Session(engine) as session:
        job = session.get(JobRow, job_id)
    if job is None:
        raise CannotDistil(f"there is no job {job_id}")
    task = configuration.task_named(job.task)
    if task is None:
        raise CannotDistil(f"task {job.task} is no longer in the configuration")
    if not task.candidate:
        raise CannotDistil(f"task {task.name} names no [[task.candidate]] to train; add at least one")
    folder = job_folder(configuration.deployment.data_directory, job_id)
    folder.mkdir(parents=True, exist_ok=True)
    return JobContext(configuration, task, job, folder)


def choose_rows(context: JobContext, engine: Engine) -> tuple[Lock, Split]:
    """Collect, lock and split, and list the rows; once more if an erasure passed by meanwhile.

    An erasure looks through the lists that lie there when it has left the record. Lists that were written later,
    from rows that were read earlier, are therefore thrown away.
    """
    while True:
        erased = _erasures(engine)
        was_locked = (context.folder / LOCK_FILE).exists()
        lock, split = _lock_and_split(context, _collect(context, engine))
        parts = {"train": split.train, "dev": split.dev, "calibration": split.calibration}
        write_rows(context.folder, {name: {row.digest for row in rows} for name, rows in parts.items()})
        if _erasures(engine) == erased:
            return lock, split
        log.info("rows were erased meanwhile: they are chosen anew action=rows_erased")
        for name in (ROWS_FILE,) if was_locked else (ROWS_FILE, LOCK_FILE):
            (context.folder / name).unlink(missing_ok=True)


def _erasures(engine: Engine) -> int:
    with Session(engine) as session:
        return erasures_past_the_record(session)


def _collect(context: JobContext, engine: Engine) -> Ingested:
    """Wait, for a limited time, until there are the rows that training and the gate need."""
    deadline = context.job.opened_at_us / 1e6 + context.task.gate.collect_seconds
    while True:
        ingested = ingest(context.data_directory, context.task)
        missing = missing_rows(ingested, context.task, _alarmed_slices(engine, context.task))
        if not missing:
            return ingested
        if time.time() >= deadline:
            return _enough_to_go_on(ingested, context.task)
        wanted, had = max(missing.values(), key=lambda pair: pair[0] - pair[1])
        say_progress(f"collecting rows ({_worst(missing)})", had / wanted)
        time.sleep(COLLECT_POLL_SECONDS)


def missing_rows(ingested: Ingested, task: TaskSection, alarmed: Sequence[str]) -> dict[str, tuple[int, int]]:
    """What is still short, as name -> (wanted, had): rows in all, and rows of each alarmed critical slice."""
    wanted = {"all": task.gate.train_rows + task.gate.rows}
    for name in alarmed:
        rule = rule_of(task.rules, name)
        if rule and rule.critical:
            wanted[name] = rows_wanted(task.gate.slice_rows)
    had = {name: sum(name in row.slices for row in ingested.rows) for name in wanted}
    return {name: (wanted[name], had[name]) for name in wanted if had[name] < wanted[name]}


def _worst(missing: dict[str, tuple[int, int]]) -> str:
    name = max(missing, key=lambda key: missing[key][0] - missing[key][1])
    wanted, had = missing[name]
    return f"{name}: {had} of {wanted}"


def _enough_to_go_on(ingested: Ingested, task: TaskSection) -> Ingested:
    if len(ingested.rows) >= task.gate.train_rows:
        return ingested
    raise CannotDistil(
        f"only {len(ingested.rows)} usable rows came within {task.gate.collect_seconds:.0f} s;"
        f" gate.train_rows is {task.gate.train_rows}. Left out: {dict(ingested.unusable) or 'nothing'}"
    )


def _lock_and_split(context: JobContext, ingested: Ingested) -> tuple[Lock, Split]:
    """Fix the gate before any row is given to training; a lock that this job made before stands."""
    before = rows_locked_before(context.folder.parent, context.task.name, but=context.folder)
    path = context.folder / LOCK_FILE
    if path.exists():
        lock = read_lock(path)
    else:
        drawn = draw_gate(ingested.rows, context.task.rules, context.task.gate, before)
        lock = lock_gate(context.folder, context.task, drawn)
    return lock, split_rows(ingested.rows, lock.rows, before)


def _alarmed_slices(engine: Engine, task: TaskSection) -> list[str]:
    """Slices that alarmed on the newest student: what the next one has to be good at."""
    incumbent = _incumbent(engine, task)
    if incumbent is None:
        return []
    of_student = AlarmRow.task == task.name, AlarmRow.artifact == incumbent.artifact
    with Session(engine) as session:
        return list(session.exec(select(AlarmRow.slice).where(*of_student, alarms.counts())))


def _loaded(context: JobContext, incumbent: StudentRow | None) -> Student | None:
    """The incumbent, to be compared with; None where there is none or it cannot be loaded."""
    if incumbent is None:
        return None
    folder = artifact_folder(context.data_directory, incumbent.artifact)
    try:
        return Student.load(folder, incumbent.manifest_digest, context.configuration.student)
    except ArtifactError as error:
        log.warning("nothing is compared with the incumbent: %s action=incumbent_unreadable", error)
        return None


def _jobs_before(engine: Engine, context: JobContext) -> list[int]:
    with Session(engine) as session:
        return [job.id for job in jobs_of_task(session, context.task.name) if job.id is not None]


def _incumbent(engine: Engine, task: TaskSection) -> StudentRow | None:
    """The student registered last."""
    with Session(engine) as session:
        return session.exec(
            select(StudentRow)
            .where(StudentRow.task == task.name)
            .order_by(col(StudentRow.registered_at_us).desc())
        ).first()


def _gate_reasons(folder: Path) -> list[str]:
    """What the gate said of each candidate, from the reports that the ladder left."""
    reasons = []
    for path in sorted(folder.glob("*/gate.report.json")):
        report = json.loads(path.read_text())
        reasons += [f"{path.parent.name}: {reason}" for reason in report["reasons"]]
    return reasons


def _import_torch() -> None:
    try:
        import torch  # noqa: F401
    except ImportError as error:
        raise CannotDistil(
            f"training needs packages that are not installed ({error}); run"
            " `pip install 'stillgate[distill]'` where the distill worker runs"
        ) from None


if __name__ == "__main__":
    sys.exit(main())
