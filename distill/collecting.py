"""Waits, for a limited time, until the record holds the rows that training and the gate need."""

import time
from collections.abc import Collection, Sequence

from sqlalchemy import Engine
from sqlmodel import Session, select

from distill.context import CannotDistil, JobContext, say_progress
from distill.curation.ingest import Labels, ingest
from distill.curation.rows import Ingested
from distill.curation.window import Window, job_window
from distill.incumbent import newest_student
from ledger import alarms
from ledger.configuration import TaskSection
from ledger.exchange_file import exchange_paths
from ledger.labels import every_label
from ledger.slices import rule_of
from ledger.tables import AlarmRow
from monitor.training_window import rows_wanted

COLLECT_POLL_SECONDS = 3.0


def collect(context: JobContext, engine: Engine, replay: Collection[str]) -> Ingested:
    """Raises CannotDistil where not even gate.train_rows came in time. `replay`: digests of earlier training rows."""
    deadline = context.job.opened_at_us / 1e6 + context.task.gate.collect_seconds
    window, alarmed = _window(context, engine), _alarmed_slices(engine, context.task)
    while True:
        ingested = ingest(context.data_directory, context.task, window, _labels(engine), replay)
        missing = missing_rows(ingested, context.task, alarmed)
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


def _window(context: JobContext, engine: Engine) -> Window:
    with Session(engine) as session:
        return job_window(session, exchange_paths(context.data_directory), context.task, context.job)


def _labels(engine: Engine) -> Labels:
    with Session(engine) as session:
        return every_label(session)


def _alarmed_slices(engine: Engine, task: TaskSection) -> list[str]:
    """Slices that alarmed on the newest student: what the next one has to be good at."""
    incumbent = newest_student(engine, task.name)
    if incumbent is None:
        return []
    of_student = AlarmRow.task == task.name, AlarmRow.artifact == incumbent.artifact
    with Session(engine) as session:
        return list(session.exec(select(AlarmRow.slice).where(*of_student, alarms.counts())))
