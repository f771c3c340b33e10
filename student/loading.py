"""Keeps the loaded students equal to the artifacts that the stages let answer.

A bad artifact is a problem with a sentence, not an exception: the others go on answering.
"""

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine
from sqlmodel import Session

from ledger.artifacts import ArtifactError, artifact_folder
from ledger.configuration import StudentSection
from ledger.stages import task_stages
from ledger.tables import StudentRow
from student.session import Student

RETRY_SECONDS = 5.0  # before a bad artifact is looked at again, in case somebody restored it

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Wanted:
    """An artifact that shall answer, as it was registered."""

    artifact: str
    manifest_digest: str


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a wanted artifact does not answer."""

    wanted: Wanted
    message: str
    retry_at: float  # time.monotonic()


@dataclass(frozen=True, slots=True)
class Steps:
    """What turns the loaded students into the wanted ones."""

    load: tuple[Wanted, ...]
    unload: tuple[str, ...]
    forget: tuple[str, ...]  # problems of artifacts that nobody wants any more


def read_wanted(engine: Engine, tasks: Sequence[str]) -> list[Wanted]:
    """Every artifact that answers for one of the tasks. Raises SQLAlchemyError."""
    with Session(engine) as session, session.begin():
        artifacts = [artifact for task in tasks for artifact in task_stages(session, task).answering]
        rows = [(artifact, session.get(StudentRow, artifact)) for artifact in artifacts]
        return [Wanted(artifact, row.manifest_digest if row else "") for artifact, row in rows]


def next_steps(
    wanted: Sequence[Wanted],
    loaded: Mapping[str, str],
    problems: Mapping[str, Problem],
    now: float,
) -> Steps:
    """`loaded` maps artifacts to the manifest digests that they were loaded with."""
    digests = {entry.artifact: entry.manifest_digest for entry in wanted}
    return Steps(
        load=tuple(
            entry
            for entry in wanted
            if loaded.get(entry.artifact) != entry.manifest_digest
            and not _waits(problems.get(entry.artifact), entry, now)
        ),
        unload=tuple(artifact for artifact, digest in loaded.items() if digests.get(artifact) != digest),
        forget=tuple(artifact for artifact in problems if artifact not in digests),
    )


def load(wanted: Wanted, data_directory: Path, settings: StudentSection) -> Student | Problem:
    """A student ready to answer, or what is wrong with it."""
    folder = artifact_folder(data_directory, wanted.artifact)
    try:
        if not wanted.manifest_digest:
            raise ArtifactError(f"{wanted.artifact} has a stage but was never registered as a student")
        return Student.load(folder, wanted.manifest_digest, settings)
    except Exception as error:  # a folder of unknown content must not end the process
        message = str(error) if isinstance(error, ArtifactError) else f"{folder}: {error!r}"
        return Problem(wanted, message, time.monotonic() + RETRY_SECONDS)


@contextmanager
def marked(data_directory: Path, wanted: Wanted) -> Iterator[None]:
    """Leave a mark on disk while an artifact is loaded: it stays only if the process dies meanwhile."""
    path = _mark_path(data_directory)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{wanted.artifact} {wanted.manifest_digest}")
    except OSError as error:  # a full disk: nobody is blamed then
        log.warning("%s cannot be written: %s. action=mark_failed", path, error)
    yield
    path.unlink(missing_ok=True)


def taken_mark(data_directory: Path) -> Wanted | None:
    """What was being loaded when the last process died, once."""
    path = _mark_path(data_directory)
    try:
        artifact, digest = path.read_text().split(" ")
        path.unlink()
    except (OSError, ValueError):
        return None
    return Wanted(artifact, digest)


def _mark_path(data_directory: Path) -> Path:
    return data_directory / "run" / "student.loading"


def _waits(problem: Problem | None, wanted: Wanted, now: float) -> bool:
    return problem is not None and problem.wanted == wanted and now < problem.retry_at
