"""Registration: the last door. A student without a lock, a licence or a passed gate does not get through."""

from collections.abc import Mapping
from typing import Any

from sqlmodel import Session

from distill.curation.licence import licence_problem
from distill.gating.fairness import UNDECLARED
from distill.registration.tampering import difference
from ledger.artifacts import Manifest, artifact_folder, verify
from ledger.audit import append_audit
from ledger.clock import now_us
from ledger.configuration import Configuration, TaskSection
from ledger.tables import JobRow, StudentRow
from student.signature import check_signature


class RegistrationRefused(Exception):
    """What the student lacks."""


def licence_record(task: TaskSection) -> Mapping[str, Any]:
    """The task's licence record. Raises RegistrationRefused unless a person allowed distillation."""
    problem = licence_problem(task)
    if problem is not None or task.licence is None:
        raise RegistrationRefused(problem or "")
    return task.licence.model_dump(mode="json")


def fairness_statement(task: TaskSection) -> Mapping[str, Any]:
    """What the task says of protected groups. Raises RegistrationRefused where it says nothing."""
    if task.fairness is None:
        raise RegistrationRefused(f"task {task.name}: {UNDECLARED}")
    return task.fairness.model_dump(mode="json")


def check_artifact(
    configuration: Configuration, job: JobRow, artifact: str, manifest_digest: str
) -> Manifest:
    """Verify files, signature, lock, data manifest and licence. Raises ArtifactError or RegistrationRefused."""
    data_directory = configuration.deployment.data_directory
    folder, task = artifact_folder(data_directory, artifact), configuration.task_named(job.task)
    manifest = verify(folder, manifest_digest)
    check_signature(folder, configuration.student.public_key)
    if task is not None:
        licence_record(task)  # it may have been withdrawn while the job ran
    refusal = _refusal(job, manifest) or difference(data_directory, folder, manifest)
    if refusal:
        raise RegistrationRefused(f"{artifact} cannot be registered: {refusal}")
    return manifest


def register_student(
    session: Session, job: JobRow, artifact: str, manifest: Manifest, manifest_digest: str
) -> None:
    """Add the checked student to the control file, in the transaction that closes its job."""
    refusal = _refusal(job, manifest)
    if refusal:
        raise RegistrationRefused(f"{artifact} cannot be registered: {refusal}")
    if session.get(StudentRow, artifact) is not None:
        return
    session.add(
        StudentRow(
            artifact=artifact,
            task=manifest.task,
            job_id=manifest.lineage.job_id,
            parent=manifest.lineage.parent,
            registered_at_us=now_us(),
            manifest_digest=manifest_digest,
            kind=manifest.kind,
            gate_outcome=manifest.gate.outcome,
            quantized_from=manifest.lineage.quantized_from,
        )
    )
    append_audit(
        session,
        job.claimed_by or "distill",
        "student_registered",
        {"artifact": artifact, "job": job.id, "manifest": manifest_digest, "gate": manifest.gate.outcome},
    )


def _refusal(job: JobRow, manifest: Manifest) -> str | None:
    if manifest.lineage.job_id != job.id:
        return f"it was trained by job {manifest.lineage.job_id}, not by job {job.id}"
    if not manifest.gate.lock_digest:
        return "its gate was not locked before training"
    if manifest.gate.outcome != "pass":
        return f"its gate says {manifest.gate.outcome}"
    if not manifest.licence.get("distillation_allowed"):
        return "its licence record does not permit distillation"
    if manifest.fairness is None:
        return f"nothing is declared of protected groups: {UNDECLARED}"
    return None
