"""Signs of life that processes leave for each other in the control file."""

import json
from collections.abc import Mapping
from typing import Any

from sqlmodel import Session

from ledger.clock import now_us
from ledger.tables import HeartbeatRow

BEAT_SECONDS = 5.0  # between two signs of life of a process that has nothing new to say

_LEAVE = "INSERT OR REPLACE INTO heartbeat (process, at_us, report) VALUES (?, ?, ?)"


def leave_heartbeat(session: Session, process: str, report: Mapping[str, Any]) -> None:
    row = (process, now_us(), json.dumps(dict(report)))
    session.connection().exec_driver_sql(_LEAVE, row)


def heartbeat_age_seconds(session: Session, process: str) -> float | None:
    """Seconds since the last sign of life; None if there never was one."""
    row = session.get(HeartbeatRow, process)
    return None if row is None else (now_us() - row.at_us) / 1e6
