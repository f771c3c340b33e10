"""One distillation job, from logged exchanges to a sealed artifact, in a process of its own.

It writes nothing but its own folder and the artifact registry; what it says on stdout (a JSON document a
line) is carried to the control file by the worker, which also registers the student.
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from sqlalchemy import Engine
from sqlmodel import Session

from distill.choosing import choose_rows
from distill.context import CannotDistil, JobContext, say
from distill.gating.behaviour import BehaviourFileWrong
from distill.gating.beside import beside_of
from distill.gating.concluding import conclude
from distill.gating.lock import check_lock
from distill.gating.looks import LooksSpent
from distill.gating.terms import Unsigned, signature_of
from distill.incumbent import load_incumbent, newest_student
from distill.registration.register import RegistrationRefused, fairness_statement, licence_record
from distill.stages import StageChanged
from ledger.configuration import Configuration, load
from ledger.control_file import open_control_file_read_only
from ledger.erasures import jobs_of_task
from ledger.job_folders import LOCK_FILE, job_folder
from ledger.logs import log_to_stderr
from ledger.tables import JobRow

log = logging.getLogger("distill.job")


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
        say(**run_job(configuration, options.job))
    except (
        CannotDistil,
        RegistrationRefused,
        StageChanged,
        Unsigned,
        BehaviourFileWrong,
        LooksSpent,
    ) as error:
        say(outcome="failed", reasons=getattr(error, "reasons", [str(error)]))
    except Exception as error:  # whatever the training libraries raise ends as the job's reason
        log.exception("job %d failed action=job_failed", options.job)
        say(outcome="failed", reasons=[f"{type(error).__name__}: {error}"])
    return 0


def run_job(configuration: Configuration, job_id: int) -> dict[str, object]:
    """Everything that a job does, in order."""
    engine = open_control_file_read_only(configuration.deployment.data_directory)
    context = _context(configuration, engine, job_id)
    context.journal.write("attempt_began")
    licence = licence_record(context.task)
    fairness_statement(context.task)
    signature_of(context.task)
    row = newest_student(engine, context.task.name)
    incumbent = load_incumbent(context, row)
    chosen = choose_rows(context, engine, incumbent)
    _import_torch()
    from distill.ladder import climb  # imports torch, which serving installs do not have
    from distill.manifests import MadeFrom

    split = chosen.split
    beside = beside_of(engine, context.task, split, incumbent)
    parent = row.artifact if row else None
    climbed = climb(MadeFrom(context, chosen, parent, licence), beside)
    check_lock(context.folder / LOCK_FILE, chosen.lock, split.gate)
    outcome = conclude(
        context.folder, context.task, split, climbed.looks, _jobs_of(engine, context.task.name)
    )
    conclusion = outcome.plain(context.task.teacher.version)
    if climbed.published is None:
        said = [f"{look.candidate}: {reason}" for look in climbed.looks for reason in look.report.reasons]
        reasons = ["no candidate passed its gate", *said, *outcome.reasons]
        return {"outcome": "failed", "reasons": reasons, "conclusion": conclusion}
    quantized = [asdict(one) for one in climbed.quantized]
    return {
        "outcome": "registered",
        "conclusion": conclusion,
        **asdict(climbed.published),
        "quantized": quantized,
    }


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


def _jobs_of(engine: Engine, task: str) -> list[int]:
    with Session(engine) as session:
        return [job.id for job in jobs_of_task(session, task) if job.id is not None]


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
