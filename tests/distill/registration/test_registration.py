"""The last door: what was tampered with after the lock, the reading, the permission or the judgement is refused."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from distill.registration.register import RegistrationRefused, fairness_statement, register_student
from ledger.artifacts import ArtifactError, seal
from ledger.control_file import open_control_file, transaction
from ledger.job_folders import forget_rows
from ledger.tables import StudentRow
from tests.distill.desk import configuration_of
from tests.distill.registration.published import Published, publish_student


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Published]:
    configuration = configuration_of(tmp_path)
    engine = open_control_file(configuration.deployment.data_directory)
    yield publish_student(configuration, engine)
    engine.dispose()


def rewrite(path: Path, **changes: object) -> None:
    path.write_bytes(orjson.dumps(json.loads(path.read_bytes()) | changes))


def test_what_was_not_touched_is_registered(desk: Published) -> None:
    """With its job, its manifest and its gate's outcome, once."""
    manifest = desk.check()
    with transaction(desk.engine) as session:
        register_student(session, desk.job, desk.folder.name, manifest, desk.digest)
        register_student(session, desk.job, desk.folder.name, manifest, desk.digest)
    with transaction(desk.engine) as session:
        student = session.get_one(StudentRow, desk.folder.name)
    assert (student.job_id, student.gate_outcome, student.manifest_digest) == (1, "pass", desk.digest)


def test_the_folder_holds_all_that_made_the_student(desk: Published) -> None:
    """Every file is listed with its digest in the manifest, and none has a row's digest."""
    listed = desk.check().files
    names = {path.name for path in desk.folder.iterdir()} - {"manifest.json"}

    assert names == set(listed)
    assert names >= {
        "gate.lock.json", "gate.report.json", "parity.json", "calibration.json", "data.manifest.json",
        "teacher.json", "license_record.json", "lineage.json", "run.json", "labels.json", "sbom.cdx.json",
        "MODEL_CARD.md", "model_card.html",
    }  # fmt: skip
    for name in names - {"tokenizer.json", "model.onnx"}:
        assert "x-17" not in (desk.folder / name).read_text(), name
    run = json.loads((desk.folder / "run.json").read_bytes())
    assert run["packages"]["numpy"]
    assert len(run["code"]["sources"]) == 64


def test_another_lock_is_refused(desk: Published) -> None:
    """The lock in the job's folder was changed after the gate."""
    rewrite(desk.lock_path, looks=9)

    with pytest.raises(
        RegistrationRefused, match=r"gate\.lock\.json has the digest .* one of them was changed"
    ):
        desk.check()


def test_a_lock_without_erased_rows_is_the_same_lock(desk: Published) -> None:
    """An erasure leaves the digest that the lock had."""
    forget_rows(desk.lock_path.parent, {"x-17"})

    assert desk.check().gate.lock_digest != hashlib.sha256(desk.lock_path.read_bytes()).hexdigest()


def test_a_lock_that_is_gone_is_refused(desk: Published) -> None:
    """Nobody can tell what the student was judged on."""
    desk.lock_path.unlink()

    with pytest.raises(RegistrationRefused, match="is gone"):
        desk.check()


@pytest.mark.parametrize(
    "name", ["model.onnx", "license_record.json", "data.manifest.json", "gate.lock.json"]
)
def test_a_file_that_was_changed_is_named(desk: Published, name: str) -> None:
    """Its digest is not the manifest's."""
    path = desk.folder / name
    path.write_bytes(path.read_bytes() + b" ")

    with pytest.raises(ArtifactError, match=f"{name} differs from its registered digest"):
        desk.check()


@pytest.mark.parametrize(
    ("name", "changes", "said"),
    [
        (
            "license_record.json",
            {"decided_by": "nobody"},
            "the licence record license_record.json differs from the",
        ),
        (
            "data.manifest.json",
            {"rows_digest": "0" * 63 + "1"},
            "the data manifest in data.manifest.json is for other",
        ),
        ("gate.lock.json", {"digest": "f" * 64}, "the gate's lock in gate.lock.json is for other rows"),
        (
            "gate.report.json",
            {"outcome": "fail"},
            "the gate's report gate.report.json differs from the manifest's in",
        ),
    ],
)
def test_a_file_that_was_changed_and_sealed_again_is_refused(
    desk: Published, name: str, changes: dict[str, object], said: str
) -> None:
    """Digests fit, and the contents contradict the manifest."""
    changed = desk.resealed(lambda folder: rewrite(folder / name, **changes))

    with pytest.raises(RegistrationRefused, match=said):
        changed.check()


def test_a_permission_that_was_withdrawn_counts(desk: Published) -> None:
    """Between training and registration, too."""
    (task,) = desk.configuration.task
    assert task.licence is not None
    refused = task.licence.model_copy(update={"distillation_allowed": False})
    without = task.model_copy(update={"licence": refused})
    configuration = desk.configuration.model_copy(update={"task": (without,)})

    with pytest.raises(RegistrationRefused, match="says distillation_allowed = false"):
        replace(desk, configuration=configuration).check()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"fairness": None}, "nothing is declared of protected groups"),
        ({"licence": {"distillation_allowed": False}}, "does not permit distillation"),
    ],
)
def test_a_manifest_that_lacks_a_statement_is_refused(
    desk: Published, changes: dict[str, object], said: str
) -> None:
    """Also one that somebody made without this trainer."""
    manifest = desk.manifest.model_copy(update=changes)
    changed = replace(desk, digest=seal(desk.folder, manifest))

    with pytest.raises(RegistrationRefused, match=said):
        changed.check()


def test_an_undeclared_task_says_the_way_out(desk: Published) -> None:
    """Before anything is trained."""
    undeclared = desk.configuration.task[0].model_copy(update={"fairness": None})

    with pytest.raises(RegistrationRefused, match=r"\[task\.fairness\] is missing\. Name the slice rules"):
        fairness_statement(undeclared)
