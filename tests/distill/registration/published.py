"""A job that has locked its gate, judged a small student and published its folder."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from sqlalchemy import Engine

from distill.gating.gate import judge
from distill.gating.lock import lock_gate
from distill.gating.look import Answers
from distill.gating.terms import signature_of
from distill.registration.folder import Background, write_folder
from distill.registration.register import check_artifact, fairness_statement, licence_record
from ledger.artifacts import MANIFEST, Manifest, publish, seal
from ledger.configuration import Configuration
from ledger.control_file import transaction
from ledger.job_folders import LOCK_FILE, job_folder
from ledger.jobs import JobCause, JobStatus, claim_job, create_job, finish_job
from ledger.tables import JobRow
from tests.artifacts import tiny_artifact
from tests.distill.gating.parrot import Parrot, gate_of


@dataclass(frozen=True)
class Published:
    """A student that its job has published and not registered yet."""

    configuration: Configuration
    engine: Engine
    job: JobRow
    folder: Path  # of the artifact
    digest: str
    manifest: Manifest

    @property
    def lock_path(self) -> Path:
        assert self.job.id is not None
        return job_folder(self.configuration.deployment.data_directory, self.job.id) / LOCK_FILE

    @property
    def files(self) -> dict[str, str]:
        """Digests by file name, as they were sealed."""
        return Manifest.model_validate_json((self.folder / MANIFEST).read_bytes()).files

    def check(self) -> Manifest:
        return check_artifact(self.configuration, self.job, self.folder.name, self.digest)

    def resealed(self, change: Callable[[Path], None]) -> "Published":
        """As somebody would leave it who can write the folder, and the digest that is registered too."""
        change(self.folder)
        return replace(self, digest=seal(self.folder, self.manifest))


def publish_student(configuration: Configuration, engine: Engine, student: Answers = Parrot()) -> Published:
    """By a job of its own, which is over."""
    task, data = configuration.task[0], configuration.deployment.data_directory
    with transaction(engine) as session:
        job = create_job(session, task.name, JobCause.BY_HAND, "ann")
        assert job.id is not None
        claim_job(session, "w")
        finish_job(session, job.id, "w", JobStatus.SUCCEEDED, [])
    rows, folder = gate_of(task, x=100, y=60), job_folder(data, job.id)
    folder.mkdir(parents=True)
    judged = judge(student, rows, task, lock_gate(folder, task, rows), looks=1)
    elsewhere = data / "building" / str(job.id)
    building = tiny_artifact(elsewhere, task.classes, task=task.name, seed=job.id).folder
    tiny = Manifest.model_validate_json((building / "manifest.json").read_bytes())
    manifest = tiny.model_copy(
        update={
            "gate": judged.report,
            "certificate": judged.certificate,
            "licence": licence_record(task),
            "fairness": fairness_statement(task),
            "signature": signature_of(task),
            "lineage": tiny.lineage.model_copy(update={"job_id": job.id}),
        }
    )
    write_folder(building, manifest, judged.sums, Background(folder / LOCK_FILE, {"dialect": task.dialect}))
    digest = seal(building, manifest)
    artifact = publish(building, data, digest)
    return Published(configuration, engine, job, data / "artifacts" / artifact, digest, manifest)
