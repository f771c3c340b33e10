"""`stillgate backup`: a consistent copy of everything, taken while the deployment runs."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from ledger.control_file import control_path
from ledger.exchange_file import exchange_paths
from ledger.subjects import KEY_FILE as SUBJECT_KEY
from stillgate.exits import Exit
from stillgate.options import DEFAULT_CONFIG, ConfigOption, configuration_of, fail, out, talk


class BackupFailed(Exception):
    """The copy is not whole; what was written of it should not be kept."""


def backup(
    directory: Annotated[Path, typer.Argument(help="Where to: an empty or a new directory.")],
    config: Annotated[Path, ConfigOption] = DEFAULT_CONFIG,
) -> None:
    """Copy control file, exchange files, probes and students; restore by using the copy as data_directory.

    What is erased later stays in the copy: how long copies are kept is yours to decide.
    """
    source = configuration_of(config).deployment.data_directory
    try:
        for path in copy_all(source, directory):
            talk.print(f"copied {path}", markup=False)
    except (BackupFailed, OSError, sqlite3.Error) as error:
        fail(f"the backup is not whole: {error}", Exit.FAILED)
    out.print(str(directory), markup=False)


def copy_all(source: Path, target: Path) -> list[Path]:
    """The control file first: its cursors may then lag behind the exchanges, and never point beyond them.

    Students come last, since a student's folder lies there before the control file names it.
    """
    if target.exists() and any(target.iterdir()):
        raise BackupFailed(f"{target} is not empty; choose another directory")
    if not control_path(source).is_file():
        raise BackupFailed(f"{source} has no control file; `stillgate up` makes one")
    databases = [control_path(source), *exchange_paths(source)]
    target.mkdir(parents=True, exist_ok=True)
    if (source / SUBJECT_KEY).is_file():
        shutil.copy2(
            source / SUBJECT_KEY, target / SUBJECT_KEY
        )  # with its rights; without it nobody could be found
    for path in (source / "probes").glob("*.json"):
        (target / "probes").mkdir(exist_ok=True)
        shutil.copy2(path, target / "probes" / path.name)  # with its rights
    for path in databases:
        copy_database(path, target / path.relative_to(source))
    if (source / "artifacts").is_dir():
        shutil.copytree(
            source / "artifacts", target / "artifacts", ignore=shutil.ignore_patterns(".*")
        )  # a name with a dot is still being published
    return databases


def copy_database(source: Path, target: Path) -> None:
    """SQLite's own online copy, in one read transaction, then checked."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with (
        closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True, timeout=10)) as reading,
        closing(sqlite3.connect(target)) as writing,
    ):
        reading.backup(writing)
        (state,) = writing.execute("PRAGMA quick_check").fetchone()
        if state != "ok":
            raise BackupFailed(f"{target}: {state}")
