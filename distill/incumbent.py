"""The student that a job is meant to succeed."""

import logging

from sqlalchemy import Engine
from sqlmodel import Session, col, select

from distill.context import JobContext
from ledger.artifacts import ArtifactError, artifact_folder
from ledger.tables import StudentRow
from student.session import Student

log = logging.getLogger("distill.job")


def newest_student(engine: Engine, task: str) -> StudentRow | None:
    """The student registered last; files in fewer bits of one are none of their own."""
    with Session(engine) as session:
        return session.exec(
            select(StudentRow)
            .where(StudentRow.task == task, col(StudentRow.quantized_from).is_(None))
            .order_by(col(StudentRow.registered_at_us).desc())
        ).first()


def load_incumbent(context: JobContext, row: StudentRow | None) -> Student | None:
    """Loaded as the student process loads it; None, with a line in the log, where that fails."""
    if row is None:
        return None
    folder = artifact_folder(context.data_directory, row.artifact)
    try:
        return Student.load(folder, row.manifest_digest, context.configuration.student)
    except ArtifactError as error:
        log.warning("the incumbent is left out: %s action=incumbent_unreadable", error)
        return None
