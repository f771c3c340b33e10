"""What a distillation job was opened with, passed down to every step, and what it says on the way."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from distill.journal import Journal
from distill.stages import Finished, Stage, run_stage
from ledger.configuration import Configuration, TaskSection
from ledger.tables import JobRow


class CannotDistil(Exception):
    """The job ends without a student, for the reasons given."""

    def __init__(self, *reasons: str) -> None:
        self.reasons = list(reasons)
        super().__init__("; ".join(reasons))


@dataclass(frozen=True, slots=True)
class JobContext:
    """What the job was opened with."""

    configuration: Configuration
    task: TaskSection
    job: JobRow
    folder: Path
    journal: Journal = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "journal", Journal(self.folder))

    @property
    def data_directory(self) -> Path:
        return self.configuration.deployment.data_directory

    def stage(
        self,
        stage: Stage,
        inputs: Mapping[str, Any],
        work: Callable[[Path], Mapping[str, Any]],
        inside: str = "",
    ) -> Finished:
        """Run a stage in the job's folder (or, for a candidate's, in the folder `inside` it) and keep what it said."""
        finished = run_stage(self.folder / inside, stage, inputs, work)
        told = {"seconds": finished.seconds, "is_reused": finished.is_reused, "gave": dict(finished.gave)}
        self.journal.write("stage_ended", stage=stage, inside=inside or None, key=finished.key, **told)
        return finished


def say_progress(phase: str, share: float) -> None:
    """Tell the worker what the job does now and how far it is, 0 to 1."""
    say(phase=phase, progress=round(share, 4))


def say(**document: object) -> None:
    """A line of JSON on standard output, which the worker reads."""
    print(json.dumps(document), flush=True)  # noqa: T201
