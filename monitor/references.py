"""The students that answer, and what they brought: gate reports and certificates, read once and verified."""

from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from sqlmodel import Session

from ledger.artifacts import ArtifactError, Certificate, GateReport, Manifest, artifact_folder, verify
from ledger.stages import task_stages
from ledger.tables import StudentRow

Digests = Mapping[str, Mapping[str, str]]  # task -> artifact -> manifest digest
Reports = dict[str, dict[str, GateReport | None]]
Reference = Mapping[str, Mapping[str, Any]]  # slice -> sums of its gate rows


def answering_students(session: Session, task: str) -> dict[str, str]:
    """Manifest digests by artifact."""
    students = (session.get(StudentRow, artifact) for artifact in task_stages(session, task).answering)
    return {student.artifact: student.manifest_digest for student in students if student is not None}


def gate_reports(data_directory: Path, answering: Digests) -> tuple[Reports, dict[str, str]]:
    """By task and artifact, None where an artifact cannot be read; and why, by artifact."""
    reports: Reports = {}
    problems: dict[str, str] = {}
    for task, students in answering.items():
        reports[task] = {}
        for artifact, digest in students.items():
            try:
                reports[task][artifact] = _manifest(data_directory, artifact, digest).gate
            except (ArtifactError, OSError) as error:
                reports[task][artifact], problems[artifact] = None, str(error)
    return reports, problems


def certificates(data_directory: Path, answering: Digests) -> dict[str, dict[str, Certificate]]:
    """By task and artifact, without those whose artifacts cannot be read."""
    found: dict[str, dict[str, Certificate]] = {}
    for task, students in answering.items():
        found[task] = {}
        for artifact, digest in students.items():
            with suppress(ArtifactError, OSError):
                found[task][artifact] = _manifest(data_directory, artifact, digest).certificate
    return found


def manifest_of(data_directory: Path, artifact: str, digest: str) -> Manifest | None:
    """None where the artifact cannot be read."""
    with suppress(ArtifactError, OSError):
        return _manifest(data_directory, artifact, digest)
    return None


def references(data_directory: Path, answering: Digests) -> dict[str, dict[str, Reference]]:
    """What manifests keep of the rows of their gates, by task and artifact; none of artifacts that cannot be read."""
    found: dict[str, dict[str, Reference]] = {}
    for task, students in answering.items():
        found[task] = {}
        for artifact, digest in students.items():
            with suppress(ArtifactError, OSError):
                found[task][artifact] = _manifest(data_directory, artifact, digest).reference
    return found


@cache  # an artifact never changes, and what raises is not kept
def _manifest(data_directory: Path, artifact: str, digest: str) -> Manifest:
    return verify(artifact_folder(data_directory, artifact), digest)
