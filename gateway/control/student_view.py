"""One registered student as people see it: its manifest, its stage, and what became of its certificate."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from sqlmodel import Session

from gateway.control.certified import certificate_view
from gateway.control.manifests import manifest_of
from ledger.configuration import TaskSection
from ledger.erasures import rows_erased
from ledger.stages import task_stages
from ledger.tables import StudentRow


def student_view(
    session: Session, data_directory: Path, task: TaskSection | None, student: StudentRow
) -> dict[str, Any]:
    """`problem` says why the manifest cannot be trusted; then there is none. `task` is None for one that is no
    longer in the configuration: then nobody can say which lines of the certificate hold."""
    stage, share = task_stages(session, student.task).stages.get(student.artifact, ("candidate", 0.0))
    erased = rows_erased(session, student.job_id)
    manifest = manifest_of(data_directory, student)
    document = student.model_dump() | {"stage": str(stage), "share": share, "certificate": None}
    document["erased"] = asdict(erased) if erased is not None else None
    if isinstance(manifest, str):
        return document | {"manifest": None, "problem": manifest}
    if task is not None:
        document["certificate"] = certificate_view(session, task, student.artifact, manifest)
    return document | {"manifest": manifest.model_dump(mode="json"), "problem": None}
