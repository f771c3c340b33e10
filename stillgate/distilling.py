"""`stillgate distill ...`: plan a distillation, run it here or by a worker, resume it, look at it, compare two.

`open` asks the admin API and a worker runs the job; `run` and `resume` run it in this terminal, on the data
directory of the configuration: the same function over the same stages.
"""

import getpass
import os
import socket
import threading
import time
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from sqlalchemy import Engine
from sqlmodel import Session

from distill.planning.dry_run import dry_run
from distill.planning.feasibility import Feasibility
from distill.worker import Worker
from ledger.configuration import Configuration, TaskSection
from ledger.control_file import open_control_file, open_control_file_read_only, transaction
from ledger.job_folders import job_folder
from ledger.jobs import (
    HEARTBEAT_SECONDS,
    JobCause,
    JobStatus,
    claim_this_job,
    create_job,
    is_silent,
    open_job,
    reopen_job,
)
from ledger.tables import JobRow
from stillgate.admin_client import AdminClient, client_for
from stillgate.exits import Exit
from stillgate.options import (
    DEFAULT_CONFIG,
    ConfigOption,
    KeyOption,
    ReasonOption,
    configuration_of,
    fail,
    out,
    talk,
)
from stillgate.show_job import job_document, jobs_compared, show_comparison, show_job
from stillgate.show_plan import show_plan
from stillgate.watching import Output, OutputOption, print_as

POLL_SECONDS = 0.2
THERE_POLL_SECONDS = 0.5  # of the admin API
COLUMNS = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"))

_HERE = f"{socket.gethostname()}-terminal-"  # and the process

ConfigPath = Annotated[Path, ConfigOption]
JobArgument = Annotated[int, typer.Argument(help="Number of the job.", min=1)]
TaskArgument = Annotated[str, typer.Argument(help="Name of the task.")]


def open_(
    task: TaskArgument,
    reason: ReasonOption,
    wait: Annotated[bool, typer.Option("--wait", help="Until the job has ended.")] = False,
    timeout: Annotated[float, typer.Option("--timeout", help="Seconds to wait at most.")] = 86_400.0,
    config: ConfigPath = DEFAULT_CONFIG,
    key: KeyOption = "",
) -> None:
    """Open a distillation job. With --wait: exit 0 if a student was registered, 1 if it failed, 3 at the timeout."""
    client = client_for(config, key)
    job = client.post(f"/tasks/{quote(task, safe='')}/jobs", {"reason": reason})
    if not wait:
        out.print(f"job {job['id']}")
        return
    job = _follow_there(client, job, time.monotonic() + timeout)
    if job["status"] != "succeeded":
        fail(f"job {job['id']} {job['status']}: {'; '.join(job['reasons'])}", Exit.FAILED)
    out.print(f"job {job['id']} {job['artifact']}")


def _follow_there(client: AdminClient, job: dict[str, Any], deadline: float) -> dict[str, Any]:
    """Show the progress of each phase until the job has ended."""
    with Progress(*COLUMNS, TimeElapsedColumn(), console=talk) as progress:
        shown = progress.add_task(f"job {job['id']}", total=1.0)
        while job["finished_at_us"] is None:
            if time.monotonic() >= deadline:
                fail(f"job {job['id']} is still {job['status']}; it goes on without us", Exit.TIMEOUT)
            time.sleep(THERE_POLL_SECONDS)
            job = client.get(f"/jobs/{job['id']}")
            phase = job["phase"] or ("waits for a worker" if job["status"] == "waiting" else job["status"])
            progress.update(shown, description=f"job {job['id']}: {phase}", completed=job["progress"])
    return job


def plan(
    task: TaskArgument, output: OutputOption = Output.TABLE, config: ConfigPath = DEFAULT_CONFIG
) -> None:
    """What the record can prove, before anything is spent: exit 0 to go on, 4 if nothing could pass."""
    configuration = configuration_of(config)
    section = _task_of(configuration, task)
    if not section.candidate:
        fail(f"task {task} names no [[task.candidate]] to train; add at least one", Exit.USAGE)
    engine = open_control_file_read_only(configuration.deployment.data_directory)
    with Progress(*COLUMNS, TimeElapsedColumn(), console=talk, transient=True) as progress:
        shown = progress.add_task("plan", total=1.0)
        document = dry_run(
            configuration,
            section,
            engine,
            lambda phase, share: progress.update(shown, description=phase, completed=share),
        )
    print_as(document, output, show_plan(document))
    if document["feasibility"] == Feasibility.CANNOT_PASS:
        raise typer.Exit(Exit.VERDICT)


def run(task: TaskArgument, config: ConfigPath = DEFAULT_CONFIG) -> None:
    """Open a job and run it here: exit 0 if a student was registered, 1 if not. Ctrl-C leaves it to be resumed."""
    configuration = configuration_of(config)
    section = _task_of(configuration, task)
    engine = open_control_file(configuration.deployment.data_directory)
    with transaction(engine) as session:
        _refuse_second(session, section.name)
        job = create_job(session, section.name, JobCause.BY_HAND, getpass.getuser())
        claim_this_job(session, job, _name())
        number = job.id
    assert number is not None
    _run_here(configuration, config, engine, number)


def resume(job: JobArgument, config: ConfigPath = DEFAULT_CONFIG) -> None:
    """Go on here with a job that ended without a student or whose process died; finished stages stand."""
    configuration = configuration_of(config)
    engine = open_control_file(configuration.deployment.data_directory)
    with transaction(engine) as session:
        row = _job_of(session, job)
        if row.status == JobStatus.SUCCEEDED:
            fail(f"job {job} has registered {row.artifact}; there is nothing to resume", Exit.CONFLICT)
        if row.status == JobStatus.RUNNING and not is_silent(row) and not _has_died(row.claimed_by or ""):
            fail(
                f"job {job} is run by {row.claimed_by}, which gave a sign of life less than {HEARTBEAT_SECONDS:.0f} s"
                " ago; wait for it, or stop it first",
                Exit.CONFLICT,
            )
        if row.status in (JobStatus.FAILED, JobStatus.CANCELLED):
            _refuse_second(session, row.task)
            reopen_job(session, row, getpass.getuser())
        claim_this_job(session, row, _name())
    _run_here(configuration, config, engine, job)


def show(job: JobArgument, output: OutputOption = Output.TABLE, config: ConfigPath = DEFAULT_CONFIG) -> None:
    """The stages of a job: what came in, what was left out and why, how long each took, and what the gate says."""
    document = _document(configuration_of(config), job)
    print_as(document, output, show_job(document))


def diff(
    before: JobArgument,
    after: Annotated[int, typer.Argument(help="Number of the other job.", min=1)],
    output: OutputOption = Output.TABLE,
    config: ConfigPath = DEFAULT_CONFIG,
) -> None:
    """What differs between two jobs: settings, rows, stages and verdicts."""
    configuration = configuration_of(config)
    documents = [_document(configuration, job) for job in (before, after)]
    compared = jobs_compared(*documents)
    print_as(compared, output, show_comparison(compared))


def _document(configuration: Configuration, job: int) -> dict[str, Any]:
    data_directory = configuration.deployment.data_directory
    engine = open_control_file_read_only(data_directory)
    with Session(engine) as session:
        row = _job_of(session, job)
    return job_document(row, job_folder(data_directory, job))


def _task_of(configuration: Configuration, name: str) -> TaskSection:
    task = configuration.task_named(name)
    if task is None:
        names = ", ".join(section.name for section in configuration.task)
        fail(f"there is no task {name!r}; the configuration has {names}", Exit.USAGE)
    return task


def _job_of(session: Session, job: int) -> JobRow:
    row = session.get(JobRow, job)
    if row is None:
        fail(f"there is no job {job}; `stillgate status` lists them", Exit.USAGE)
    return row


def _refuse_second(session: Session, task: str) -> None:
    busy = open_job(session, task)
    if busy is not None:
        fail(
            f"job {busy.id} of task {task} is {busy.status} already; wait for it, or"
            f" `stillgate distill resume {busy.id}` if nobody runs it",
            Exit.CONFLICT,
        )


def _name() -> str:
    """Of the worker that this command is while it runs a job."""
    return f"{_HERE}{os.getpid()}"


def _has_died(worker: str) -> bool:
    """Whether it was this command, on this machine, in a process that is no more."""
    if not worker.startswith(_HERE):
        return False
    try:
        os.kill(int(worker.removeprefix(_HERE)), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def _run_here(configuration: Configuration, config: Path, engine: Engine, job: int) -> None:
    worker = Worker(configuration, config.resolve(), engine, _name())
    with Session(engine) as session:
        row = session.get_one(JobRow, job)
    running = threading.Thread(target=worker.run_job, args=(row,), daemon=True)
    running.start()
    try:
        _follow(engine, job, running)
    except KeyboardInterrupt:
        worker.stop()
        running.join()
        fail(f"stopped; `stillgate distill resume {job}` goes on with job {job}", Exit.FAILED)
    with Session(engine) as session:
        row = session.get_one(JobRow, job)
    if row.status != JobStatus.SUCCEEDED:
        fail(f"job {job} {row.status}: {'; '.join(row.reasons)}", Exit.FAILED)
    out.print(f"job {job} {row.artifact}")


def _follow(engine: Engine, job: int, running: threading.Thread) -> None:
    """Show the phase and its progress until the job's process has ended."""
    with Progress(*COLUMNS, TimeElapsedColumn(), console=talk) as progress:
        shown = progress.add_task(f"job {job}", total=1.0)
        while running.is_alive():
            time.sleep(POLL_SECONDS)
            with Session(engine) as session:
                row = session.get_one(JobRow, job)
            phase = row.phase or row.status
            progress.update(shown, description=f"job {job}: {phase}", completed=row.progress)
