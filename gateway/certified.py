"""Certificates of the students that serve, read from their verified artifacts."""

import logging
import time
from collections.abc import Mapping
from pathlib import Path

from ledger.artifacts import ArtifactError, Certificate, artifact_folder, verify
from ledger.configuration import TaskSection

RETRY_SECONDS = 5.0  # before an artifact that could not be verified is looked at again

log = logging.getLogger(__name__)


class Certificates:
    """Each artifact is verified once; one that cannot be verified has none, and is looked at again later."""

    def __init__(self, data_directory: Path) -> None:
        self._data_directory = data_directory
        self._verified: dict[str, Certificate] = {}
        self._failed: dict[str, tuple[float, str]] = {}  # artifact -> when, why

    @property
    def problems(self) -> Mapping[str, str]:
        return {artifact: why for artifact, (_, why) in self._failed.items()}

    def certificate(self, artifact: str, digest: str | None, task: TaskSection) -> Certificate | None:
        if artifact in self._verified:
            return self._verified[artifact]
        at, known = self._failed.get(artifact, (float("-inf"), ""))
        if time.monotonic() - at < RETRY_SECONDS:
            return None
        try:
            self._verified[artifact] = self._read(artifact, digest, task)
            self._failed.pop(artifact, None)
            return self._verified[artifact]
        except (ArtifactError, OSError, ValueError) as error:
            self._failed[artifact] = time.monotonic(), str(error)
            if str(error) != known:
                log.error("%s serves nothing: %s. action=certificate_refused", artifact, error)
            return None

    def _read(self, artifact: str, digest: str | None, task: TaskSection) -> Certificate:
        if digest is None:
            raise ArtifactError(f"{artifact} has a stage but is not registered as a student")
        manifest = verify(artifact_folder(self._data_directory, artifact), digest)
        if (manifest.task, manifest.classes) != (task.name, task.classes):
            raise ArtifactError(
                f"{artifact} was made for task {manifest.task} with classes {manifest.classes},"
                f" the configuration has {task.name} with {task.classes}"
            )
        return manifest.certificate
