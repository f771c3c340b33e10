"""The control file: one SQLite database that several processes write in short transactions.

Rollback journal, since SQLite before 3.51.3 can corrupt a write-ahead log that two processes write
(sqlite.org/wal.html, "the WAL-reset bug").
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlmodel import Session

from ledger.schema import add_column, m001_initial, migrate
from ledger.tables import (
    CertifiedSliceRow,
    DetectorRow,
    ErasedRows,
    ErasureRow,
    LabelWatchRow,
    ProbeWatchRow,
    SliceRuleRow,
    TeacherChangeRow,
    control_metadata,
)

BUSY_SECONDS = 10.0  # how long a writer waits for another one's short transaction


def m002_erasures(connection: Connection) -> None:
    """What was erased, and which jobs had read it. A new file has the tables already."""
    for table in (ErasureRow, ErasedRows):
        table.__table__.create(connection, checkfirst=True)  # type: ignore[union-attr]


def m003_slice_rules(connection: Connection) -> None:
    """Which slice rules are measured, and how far. A new file has the table already."""
    SliceRuleRow.__table__.create(connection, checkfirst=True)  # type: ignore[attr-defined]


def m004_certified_slices(connection: Connection) -> None:
    """What became of certificates. A new file has the table already."""
    CertifiedSliceRow.__table__.create(connection, checkfirst=True)  # type: ignore[attr-defined]


def m005_teacher_changes(connection: Connection) -> None:
    """What probes show of the teacher. A new file has the tables already."""
    for table in (ProbeWatchRow, TeacherChangeRow):
        table.__table__.create(connection, checkfirst=True)  # type: ignore[union-attr]


def m008_harms(connection: Connection) -> None:
    """A detector for each harm, and what is kept of labels. A new file has both already."""
    LabelWatchRow.__table__.create(connection, checkfirst=True)  # type: ignore[attr-defined]
    columns = [row[1] for row in connection.execute(text("PRAGMA table_info(detector)"))]
    if "harm" in columns:
        return
    connection.execute(text("ALTER TABLE detector RENAME TO detector_before"))
    DetectorRow.__table__.create(connection)  # type: ignore[attr-defined]
    names = "task, artifact, slice, state"
    copied = f"INSERT INTO detector ({names}, harm) SELECT {names}, 'disagreement' FROM detector_before"
    connection.execute(text(copied))
    connection.execute(text("DROP TABLE detector_before"))


MIGRATIONS = (
    m001_initial(control_metadata),
    m002_erasures,
    m003_slice_rules,
    m004_certified_slices,
    m005_teacher_changes,
    add_column("alarm", "cause", "JSON"),
    add_column("label", "probability", "FLOAT NOT NULL DEFAULT 1.0"),
    m008_harms,
    add_column("alarm", "harm", "VARCHAR NOT NULL DEFAULT 'disagreement'"),
    add_column("job", "conclusion", "JSON"),
    add_column("student", "quantized_from", "VARCHAR"),
)


def control_path(data_directory: Path) -> Path:
    return data_directory / "control.sqlite"


def open_control_file(data_directory: Path) -> Engine:
    """Open the control file for reading and writing, creating or upgrading it first."""
    data_directory.mkdir(parents=True, exist_ok=True)
    path = control_path(data_directory)
    engine = _engine(f"sqlite:///{path}", begin="BEGIN IMMEDIATE")
    with engine.begin() as connection:
        migrate(connection, str(path), MIGRATIONS)
    return engine


def open_control_file_read_only(data_directory: Path) -> Engine:
    """Open an existing control file for reading."""
    path = control_path(data_directory)
    return _engine(f"sqlite:///file:{path}?mode=ro&uri=true", begin="BEGIN")


@contextmanager
def transaction(engine: Engine) -> Iterator[Session]:
    """One transaction: committed at the end, rolled back on any exception. Keep it short."""
    with Session(engine, expire_on_commit=False) as session, session.begin():
        yield session


def _engine(url: str, begin: str) -> Engine:
    engine = create_engine(url, connect_args={"timeout": BUSY_SECONDS, "check_same_thread": False})

    @event.listens_for(engine, "connect")
    def _no_implicit_begin(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # the driver's own BEGIN would be deferred and could not wait
        connection.execute("PRAGMA foreign_keys = ON")

    @event.listens_for(engine, "begin")
    def _begin(connection: Any) -> None:
        connection.exec_driver_sql(begin)

    return engine
