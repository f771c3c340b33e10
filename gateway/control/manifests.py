"""A registered student's manifest, read only where it is the one that was registered."""

import hashlib
from functools import lru_cache
from pathlib import Path

from pydantic import ValidationError

from ledger.artifacts import MANIFEST, ArtifactError, Manifest, artifact_folder, verify
from ledger.tables import StudentRow


def manifest_of(data_directory: Path, student: StudentRow) -> Manifest | str:
    """The manifest, or a sentence that says why it cannot be trusted. The other files are not looked at."""
    path = artifact_folder(data_directory, student.artifact) / MANIFEST
    try:
        return _read_manifest(path, student.manifest_digest)
    except (ArtifactError, OSError, ValidationError) as error:
        return str(error)


def verified_manifest_of(data_directory: Path, student: StudentRow) -> Manifest | str:
    """The manifest, after every file of the artifact was checked against it."""
    try:
        return verify(artifact_folder(data_directory, student.artifact), student.manifest_digest)
    except (ArtifactError, OSError, ValidationError) as error:
        return str(error)


@lru_cache(maxsize=64)
def _read_manifest(path: Path, digest: str) -> Manifest:
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != digest:
        raise ArtifactError(f"{path} differs from the registered digest {digest[:12]}...")
    return Manifest.model_validate_json(content)
