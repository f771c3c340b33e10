"""The licence record: without a named person who read the teacher's terms, and when, nothing is distilled."""

import hashlib
from datetime import UTC, date, datetime
from typing import Any

import orjson

from ledger.configuration import TaskSection


def licence_problem(task: TaskSection, today: date | None = None) -> str | None:
    """Why the task must not be distilled, or None."""
    licence = task.licence
    if licence is None or not licence.distillation_allowed:
        stands = "is missing" if licence is None else "says distillation_allowed = false"
        return (
            f"task {task.name}: [task.licence] {stands}. Somebody has to read the teacher's terms and, if they"
            " permit distillation, say so there with name and date."
        )
    if not licence.decided_by.strip():
        return f"task {task.name}: licence.decided_by is blank; it has to name the person who read the terms"
    return _date_problem(task.name, licence.decided_on, today or datetime.now(UTC).date())


def _date_problem(task: str, decided_on: str, today: date) -> str | None:
    try:
        decided = date.fromisoformat(decided_on)
    except ValueError:
        return f"task {task}: licence.decided_on = {decided_on!r} is no day of the calendar; correct it"
    if (decided - today).days > 1:  # somewhere it is tomorrow already
        return f"task {task}: licence.decided_on = {decided_on} lies in the future; correct it"
    return None


def licence_digest(licence: dict[str, Any]) -> str:
    """SHA-256 of the record, whatever the order of its keys."""
    return hashlib.sha256(orjson.dumps(licence, option=orjson.OPT_SORT_KEYS)).hexdigest()
