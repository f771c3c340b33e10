"""What the verified artifacts of the students that answer say, read once: gate reports, certificates, versions."""

from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path

from ledger.artifacts import ArtifactError, GateReport, Manifest, artifact_folder, verify

Digests = Mapping[str, Mapping[str, str]]  # task -> artifact -> manifest digest
Reports = dict[str, dict[str, GateReport | None]]


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


def certificate_thresholds(data_directory: Path, artifact: str, digest: str) -> Mapping[str, float]:
    """By slice; empty where the artifact cannot be read, since it then serves nothing."""
    try:
        return _manifest(data_directory, artifact, digest).certificate.thresholds
    except (ArtifactError, OSError):
        return {}


def teacher_epochs(data_directory: Path, students: Mapping[str, str]) -> dict[str, str]:
    """The teacher version that each student learnt from, of those whose artifacts can be read."""
    epochs: dict[str, str] = {}
    for artifact, digest in students.items():
        with suppress(ArtifactError, OSError):  # gate_reports says so
            epochs[artifact] = _manifest(data_directory, artifact, digest).lineage.teacher_epoch
    return epochs


@cache  # an artifact never changes, and what raises is not kept
def _manifest(data_directory: Path, artifact: str, digest: str) -> Manifest:
    return verify(artifact_folder(data_directory, artifact), digest)
