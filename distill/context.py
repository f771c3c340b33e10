"""What a distillation job was opened with, passed down to every step."""

from dataclasses import dataclass
from pathlib import Path

from ledger.configuration import Configuration, TaskSection
from ledger.tables import JobRow


@dataclass(frozen=True, slots=True)
class JobContext:
    """What the job was opened with."""

    configuration: Configuration
    task: TaskSection
    job: JobRow
    folder: Path

    @property
    def data_directory(self) -> Path:
        return self.configuration.deployment.data_directory
