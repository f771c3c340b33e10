"""Alarms as other processes ask for them: one that was refused is kept and shown, and counts for nothing."""

from sqlalchemy import ColumnElement
from sqlmodel import col

from ledger.tables import AlarmRow

LABELS_MOVED = "labels_moved"  # decision about an alarm on labels while the share that is labelled moves


def counts() -> ColumnElement[bool]:
    """Alarms that were not refused."""
    return col(AlarmRow.decision) != LABELS_MOVED
