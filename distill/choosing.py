"""Which rows a job works on: collected, locked for the gate, divided and listed; once, however often it is resumed."""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Engine
from sqlmodel import Session, select

from distill.context import CannotDistil, JobContext, say_progress
from distill.curation.ingest import ingest
from distill.curation.rows import Ingested
from distill.curation.split import Split, draw_gate, split_rows
from distill.gating.lock import Lock, lock_gate, read_lock, rows_locked_before
from distill.incumbent import newest_student
from ledger import alarms
from ledger.configuration import TaskSection
from ledger.erasures import erasures_past_the_record
from ledger.job_folders import LOCK_FILE, ROWS_FILE, read_lists, write_rows
from ledger.slices import rule_of
from ledger.tables import AlarmRow
from monitor.training_window import rows_wanted

COLLECT_POLL_SECONDS = 3.0

log = logging.getLogger("distill.job")


@dataclass(frozen=True, slots=True)
class Chosen:
    ingested: Ingested
    lock: Lock
    split: Split


def choose_rows(context: JobContext, engine: Engine) -> Chosen:
    """Collect, lock and split, and list the rows; once more if an erasure passed by meanwhile.

    An erasure looks through the lists that lie there when it has left the record. Lists that were written later,
    from rows that were read earlier, are therefore thrown away.
    """
    while True:
        erased = _erasures(engine)
        was_locked = (context.folder / LOCK_FILE).exists()
        ingested = _chosen_before(context) or _collect(context, engine)
        lock, split = _lock_and_split(context, ingested)
        parts = {"train": split.train, "dev": split.dev, "calibration": split.calibration}
        write_rows(context.folder, {name: {row.digest for row in rows} for name, rows in parts.items()})
        if _erasures(engine) == erased:
            return Chosen(ingested, lock, split)
        log.info("rows were erased meanwhile: they are chosen anew action=rows_erased")
        for name in (ROWS_FILE,) if was_locked else (ROWS_FILE, LOCK_FILE):
            (context.folder / name).unlink(missing_ok=True)


def _chosen_before(context: JobContext) -> Ingested | None:
    """The rows that an earlier attempt at this job listed, as far as they are still in the record."""
    if not (context.folder / ROWS_FILE).exists() or not (context.folder / LOCK_FILE).exists():
        return None
    lists = read_lists(context.folder)
    listed = lists.gate | (lists.training or frozenset())
    ingested = ingest(context.data_directory, context.task)
    return replace(ingested, rows=tuple(row for row in ingested.rows if row.digest in listed))


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
    incumbent = newest_student(engine, task.name)
    if incumbent is None:
        return []
    of_student = AlarmRow.task == task.name, AlarmRow.artifact == incumbent.artifact
    with Session(engine) as session:
        return list(session.exec(select(AlarmRow.slice).where(*of_student, alarms.counts())))
