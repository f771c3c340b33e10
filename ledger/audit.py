"""The audit log: appended in the transaction of the act itself, each row's digest covering the one before.

A chain alone does not stop somebody who can rewrite the whole table; its head has to be kept elsewhere too.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

import orjson
from sqlmodel import Session, col, select

from ledger.clock import now_us
from ledger.tables import AuditRow

GENESIS = "0" * 64


def append_audit(session: Session, actor: str, action: str, details: Mapping[str, Any]) -> AuditRow:
    """Record who did what."""
    last = session.exec(select(AuditRow).order_by(col(AuditRow.number).desc()).limit(1)).first()
    row = AuditRow(at_us=now_us(), actor=actor, action=action, details=dict(details), digest="")
    row.digest = _digest(last.digest if last else GENESIS, row)
    session.add(row)
    session.flush()
    return row


def first_broken_audit_row(session: Session) -> int | None:
    """Number of the first row whose digest does not follow from the rows before it; None if all do."""
    previous = GENESIS
    for row in session.exec(select(AuditRow).order_by(col(AuditRow.number))):
        if row.digest != _digest(previous, row):
            return row.number
        previous = row.digest
    return None


def _digest(previous: str, row: AuditRow) -> str:
    content = orjson.dumps(
        [previous, row.at_us, row.actor, row.action, row.details], option=orjson.OPT_SORT_KEYS
    )
    return hashlib.sha256(content).hexdigest()
