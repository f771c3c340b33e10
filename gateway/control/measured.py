"""What has been measured of one student over a stretch of time: its slices, and the statistics of one of them."""

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Query, Response
from sqlmodel import Session

from gateway.control.context import Control, ControlPart
from gateway.control.errors import Code, Refused
from gateway.control.manifests import manifest_of
from gateway.control.routes import Microseconds, answer
from ledger.artifacts import Manifest
from ledger.configuration import TaskSection
from ledger.control_file import transaction
from ledger.slices import OVERALL
from ledger.stages import task_stages
from ledger.tables import StudentRow
from monitor.reports import merged_sums, slice_reports
from monitor.statistics import reference_in, statistics_of
from monitor.sums import SliceSums

SliceName = Annotated[str, Query(alias="slice", max_length=200)]


@dataclass(frozen=True, slots=True)
class Asked:
    """What path and query ask about; without an artifact it is the newest that answers."""

    task: str
    artifact: str | None = None
    since_us: Microseconds = None
    until_us: Microseconds = None


AskedPart = Annotated[Asked, Depends()]


@dataclass(frozen=True, slots=True)
class Measured:
    """The student that is meant, if there is one, with its merged sums by slice."""

    asked: Asked
    task: TaskSection
    artifact: str | None
    student: StudentRow | None  # None for a remote one, which nobody registered
    sums: dict[str, SliceSums]

    def document(self, **more: Any) -> dict[str, Any]:
        stretch = {"since_us": self.asked.since_us, "until_us": self.asked.until_us}
        return {"task": self.task.name, "artifact": self.artifact, **stretch, **more}


def measured(session: Session, control: Control, asked: Asked) -> Measured | Refused:
    task = control.task(asked.task)
    if isinstance(task, Refused):
        return task
    artifact = asked.artifact or _newest_answering(session, task.name)
    if artifact is None:
        return Measured(asked, task, None, None, {})
    sums = merged_sums(session, task.name, artifact, asked.since_us, asked.until_us)
    return Measured(asked, task, artifact, session.get(StudentRow, artifact), sums)


def show_slices(asked: AskedPart, control: ControlPart) -> Response:
    with transaction(control.reading) as session:
        found = measured(session, control, asked)
    if isinstance(found, Refused):
        return answer(found)
    reports = slice_reports(found.sums, found.task.rules, found.task.gate.bar)
    return answer(found.document(slices=[report.plain() for report in reports]))


def show_statistics(asked: AskedPart, control: ControlPart, slice_name: SliceName = OVERALL) -> Response:
    """Everything that is known of one slice, against the reference in the student's manifest."""
    with transaction(control.reading) as session:
        found = measured(session, control, asked)
    if isinstance(found, Refused):
        return answer(found)
    if slice_name not in found.sums:
        sentence = f"there is no slice {slice_name} of {found.artifact} with pairs in task {asked.task}"
        return answer(Refused(Code.UNKNOWN, sentence))
    manifest = manifest_of(control.data_directory, found.student) if found.student else ""
    reference = reference_in(manifest.reference, slice_name) if isinstance(manifest, Manifest) else None
    statistics = statistics_of(found.sums[slice_name], reference, len(found.task.classes))
    return answer(found.document(slice=slice_name, statistics=statistics))


def _newest_answering(session: Session, task: str) -> str | None:
    answering = task_stages(session, task).answering
    return answering[-1] if answering else None
