"""Signs of life that processes leave for each other in the control file."""

from collections.abc import Mapping
from typing import Any

from sqlmodel import Session

from ledger.clock import now_us
from ledger.tables import HeartbeatRow


def leave_heartbeat(session: Session, process: str, report: Mapping[str, Any]) -> None:
    session.merge(HeartbeatRow(process=process, at_us=now_us(), report=dict(report)))


def heartbeat_age_seconds(session: Session, process: str) -> float | None:
    """Seconds since the last sign of life; None if there never was one."""
    row = session.get(HeartbeatRow, process)
    return None if row is None else (now_us() - row.at_us) / 1e6
