"""The control file as it was at one moment, copied aside: a report may take long, and the file's lock may not."""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlmodel import Session

from ledger.control_file import BUSY_SECONDS, control_path, open_control_file, transaction


@contextmanager
def control_snapshot(data_directory: Path) -> Iterator[Session]:
    """A session on the copy, upgraded to this release's tables. Raises OSError or sqlite3.Error."""
    with TemporaryDirectory(prefix="stillgate-report-") as folder:
        _copy(control_path(data_directory), control_path(Path(folder)))
        engine = open_control_file(Path(folder))
        try:
            with transaction(engine) as session:
                yield session
        finally:
            engine.dispose()


def _copy(source: Path, target: Path) -> None:
    """SQLite's online copy. A writer that was killed leaves a journal that only a writer may roll back: then the
    two files themselves are copied, and rolled back where the copy lies."""
    try:
        with (
            closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True, timeout=BUSY_SECONDS)) as reading,
            closing(sqlite3.connect(target)) as writing,
        ):
            reading.backup(writing)
    except sqlite3.OperationalError:
        journal = source.with_name(f"{source.name}-journal")
        if not journal.is_file():
            raise
        target.unlink(missing_ok=True)
        shutil.copyfile(source, target)
        shutil.copyfile(journal, target.with_name(journal.name))
