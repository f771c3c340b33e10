"""Where a reader of an append-only source stands; saved in the transaction of what the reading led to."""

from sqlmodel import Session

from ledger.tables import CursorRow


def cursor(session: Session, reader: str, source: str) -> int:
    """The last position read; 0 before the first."""
    row = session.get(CursorRow, (reader, source))
    return 0 if row is None else row.position


def advance_cursor(session: Session, reader: str, source: str, position: int) -> None:
    session.merge(CursorRow(reader=reader, source=source, position=position))
