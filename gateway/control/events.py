"""What the outside is told, as CloudEvents 1.0: rows of the audit log that say that somebody may have to act."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, or_
from sqlmodel import col

from ledger.configuration import EventKind
from ledger.tables import AuditRow

# Version 1 of each: fields are added to their data and never change their meaning.
TYPES = {
    EventKind.ALARM: "io.stillgate.alarm.raised.v1",
    EventKind.STAGE: "io.stillgate.stage.changed.v1",
    EventKind.CERTIFICATE: "io.stillgate.certificate.voided.v1",
    EventKind.JOB: "io.stillgate.job.failed.v1",
}
_KINDS = {
    "alarm_raised": EventKind.ALARM,
    "stage_changed": EventKind.STAGE,
    "certificate_voided": EventKind.CERTIFICATE,
    "job_finished": EventKind.JOB,
}
_FAILED = and_(
    col(AuditRow.action) == "job_finished", col(AuditRow.details)["status"].as_string() == "failed"
)


def tells(kinds: Iterable[EventKind]) -> ColumnElement[bool]:
    """The rows of the audit log that are events of these kinds."""
    actions = [action for action, kind in _KINDS.items() if kind in kinds and kind is not EventKind.JOB]
    of_actions = col(AuditRow.action).in_(actions)
    return or_(of_actions, _FAILED) if EventKind.JOB in kinds else of_actions


def event_of(row: AuditRow, deployment: str) -> dict[str, Any]:
    """The event that such a row is, in the JSON form of CloudEvents 1.0 (JSON event format, section 3).

    `id` is the row's number: with `source` it names the event once and for ever, so that a receiver that gets
    an event twice can tell. `data` is what the audit log says: names, numbers and reasons, never an input.
    """
    at = datetime.fromtimestamp(row.at_us / 1e6, UTC)
    return {
        "specversion": "1.0",
        "id": str(row.number),
        "source": f"/stillgate/{deployment}",
        "type": TYPES[_KINDS[row.action]],
        "subject": row.details.get("task", deployment),
        "time": at.isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "datacontenttype": "application/json",
        "data": {"actor": row.actor, **row.details},
    }
