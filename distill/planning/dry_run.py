"""What a job would start with, without being one: nothing is locked, written or trained."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import Engine
from sqlmodel import Session

from distill.curation.deduplicating import Distinct, distinct_rows
from distill.curation.ingest import ingest
from distill.curation.leakage import without_leaks
from distill.curation.rows import Ingested
from distill.curation.split import Split, draw_gate, split_rows
from distill.curation.sufficiency import sufficiency
from distill.curation.window import job_window
from distill.embedding import Say
from distill.gating.lock import rows_locked_before
from distill.gating.terms import looks_of
from distill.planning.feasibility import Agreements, Feasibility
from distill.planning.planning import plan_task
from ledger.clock import now_us
from ledger.configuration import Configuration, TaskSection
from ledger.exchange_file import exchange_paths
from ledger.job_folders import job_folder
from ledger.jobs import JobCause
from ledger.labels import every_label
from ledger.tables import JobRow


def dry_run(configuration: Configuration, task: TaskSection, engine: Engine, say: Say) -> dict[str, Any]:
    """The plan of a task as a document. Takes about a minute; torch is needed only if there are rows enough."""
    say("reading the record", 0.0)
    ingested = _ingested(configuration, task, engine)
    say("looking for duplicates", 0.0)
    distinct = distinct_rows(ingested.rows, task.curation)
    enough = sufficiency(ingested, distinct.rows, task)
    found = _counts(task, ingested, distinct) | {"notes": list(enough.notes)}
    if enough.stops:
        return found | _stopped(enough.stops)
    split = _split(configuration, task, distinct)
    parts = {"train": split.train, "dev": split.dev, "calibration": split.calibration, "gate": split.gate}
    ceiling = Agreements(ingested.agreement.agreements, ingested.agreement.inputs)
    planned = plan_task(task, split, ceiling, looks_of(task), say)
    left_out = found["left_out"] | {str(reason): count for reason, count in split.left_out.items()}
    return (
        found
        | planned.document()
        | {
            "rows": {name: len(rows) for name, rows in parts.items()},
            "left_out": left_out,
            "rises": planned.separability.rises,
            "candidates": _paces(task, split, say),
        }
    )


def _ingested(configuration: Configuration, task: TaskSection, engine: Engine) -> Ingested:
    data_directory = configuration.deployment.data_directory
    job = JobRow(task=task.name, cause=JobCause.BY_HAND, opened_by="plan", opened_at_us=now_us())
    with Session(engine) as session:
        window = job_window(session, exchange_paths(data_directory), task, job)
        labels = every_label(session)
    return ingest(data_directory, task, window, labels)


def _split(configuration: Configuration, task: TaskSection, distinct: Distinct) -> Split:
    jobs = job_folder(configuration.deployment.data_directory, 0).parent
    before = rows_locked_before(jobs, task.name, but=job_folder(jobs.parent, 0))
    drawn = draw_gate(distinct.rows, task.rules, task.gate, before)
    locked = {entry.row.digest: entry.drawn_for for entry in drawn}
    return without_leaks(split_rows(distinct.rows, locked, before), task.curation)


def _counts(task: TaskSection, ingested: Ingested, distinct: Distinct) -> dict[str, Any]:
    left_out = {str(reason): count for reason, count in ingested.unusable.items()}
    left_out |= {"near_duplicate": distinct.merged, "quarantined": len(distinct.quarantined)}
    return {
        "task": task.name,
        "rows": {"distinct": len(distinct.rows)},
        "left_out": {reason: count for reason, count in left_out.items() if count},
        "ceiling": {"agreements": ingested.agreement.agreements, "pairs": ingested.agreement.inputs},
    }


def _stopped(reasons: Sequence[str]) -> dict[str, Any]:
    nothing: dict[str, Any] = {"slices": [], "curve": [], "neighbours": {"agreements": 0, "pairs": 0}}
    stopped = {"feasibility": str(Feasibility.CANNOT_PASS), "reasons": list(reasons), "rises": False}
    return nothing | stopped | {"candidates": []}


def _paces(task: TaskSection, split: Split, say: Say) -> list[dict[str, Any]]:
    """How long each candidate would train here, from a few timed steps."""
    from distill.training.candidates import candidate_pace, prepare_candidate

    found = []
    for place, section in enumerate(task.candidate):
        say(f"timing {section.kind}", place / len(task.candidate))
        pace = candidate_pace(prepare_candidate(section, split, task.classes))
        wanted = pace.epochs * pace.epoch_seconds
        found.append(
            asdict(pace) | {"seconds": min(wanted, section.budget_seconds), "wanted_seconds": wanted}
        )
    return found
