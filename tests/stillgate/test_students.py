"""`stillgate students`: what the deployment's files say of registered students, with the deployment down."""

import json
from dataclasses import dataclass
from pathlib import Path

import onnxruntime
import pytest
from click.testing import Result
from transformers import AutoTokenizer

from distill.registration.register import register_student
from ledger.configuration import load
from ledger.control_file import open_control_file, transaction
from tests.distill.desk import write_configuration
from tests.distill.gating.parrot import Parrot, gate_of, texts_of
from tests.distill.registration.published import Published, publish_student
from tests.stillgate.command import run


@dataclass(frozen=True)
class Deployment:
    """Two registered students, and nobody running."""

    path: Path
    old: Published
    new: Published

    def run(self, *arguments: str) -> Result:
        return run("students", *arguments, "--config", str(self.path))


@pytest.fixture
def deployment(tmp_path: Path) -> Deployment:
    path = write_configuration(tmp_path)
    configuration = load(path)
    engine = open_control_file(configuration.deployment.data_directory)
    worse = Parrot(wrong=texts_of(gate_of(configuration.task[0], x=8)))
    old, new = publish_student(configuration, engine, worse), publish_student(configuration, engine)
    with transaction(engine) as session:
        for one in (old, new):
            register_student(session, one.job, one.folder.name, one.check(), one.digest)
    engine.dispose()
    return Deployment(path, old, new)


def test_a_list_has_the_newest_first(deployment: Deployment) -> None:
    """For people and for programs."""
    listed = deployment.run("list", "-o", "json")
    students = json.loads(listed.stdout)["students"]

    assert [one["artifact"] for one in students] == [deployment.new.folder.name, deployment.old.folder.name]
    assert (students[0]["agreement"], students[1]["agreement"]) == (1.0, 0.95)
    assert "100.0 %" in deployment.run("list").stdout
    assert json.loads(deployment.run("list", "--task", "other", "-o", "json").stdout) == {"students": []}


def test_a_student_is_shown_without_a_key(deployment: Deployment) -> None:
    """Its gate, certificate and lineage."""
    shown = deployment.run("show", deployment.new.folder.name)

    assert shown.exit_code == 0
    for said in ("gate pass", "area=x *", "certificate of"):
        assert said in shown.stdout
    assert deployment.run("show", "s-nix").exit_code == 2


def test_a_difference_is_told_slice_by_slice(deployment: Deployment) -> None:
    """And every other value that differs, by its path."""
    names = deployment.old.folder.name, deployment.new.folder.name
    document = json.loads(deployment.run("diff", *names, "-o", "json").stdout)

    by_slice = {line["slice"]: line for line in document["slices"]}
    assert by_slice["area=x"]["change"] == pytest.approx(0.08)
    assert document["changed"]["lineage.job_id"] == [1, 2]
    shown = deployment.run("diff", *names).stdout
    assert "+8.0" in shown


def test_everything_holds_after_registration(deployment: Deployment) -> None:
    """Exit 0, with a line for each."""
    verified = deployment.run("verify")

    assert (verified.exit_code, verified.stdout.count("as it was registered")) == (0, 2)


def test_what_does_not_hold_is_1_and_names_it(deployment: Deployment) -> None:
    """The one student, and the file."""
    licence = deployment.new.folder / "license_record.json"
    licence.write_bytes(licence.read_bytes() + b" ")
    deployment.old.lock_path.unlink()

    verified = deployment.run("verify", "-o", "json")
    problems = {one["artifact"]: one["problem"] for one in json.loads(verified.stdout)["students"]}

    assert verified.exit_code == 1
    assert "license_record.json differs" in problems[deployment.new.folder.name]
    assert "is gone" in problems[deployment.old.folder.name]


def test_an_exported_student_loads_elsewhere(deployment: Deployment, tmp_path: Path) -> None:
    """Its tokenizer by transformers, its classes from config.json, its file by ONNX Runtime."""
    target = tmp_path / "out"
    exported = deployment.run("export", deployment.new.folder.name, "--to", str(target))
    assert (exported.exit_code, exported.stdout.strip()) == (0, str(target))

    tokenizer = AutoTokenizer.from_pretrained(target)
    session = onnxruntime.InferenceSession(target / "onnx" / "model.onnx")
    encoded = tokenizer(["b"], return_tensors="np")
    inputs = {name: encoded[name].astype("int64") for name in ("input_ids", "attention_mask")}
    probabilities = session.run(["probs"], inputs)[0]

    names = json.loads((target / "config.json").read_text())["id2label"]
    assert names[str(int(probabilities.argmax()))] == "b"
    assert (target / "README.md").read_text().startswith("---\n")
    assert deployment.run("export", deployment.new.folder.name, "--to", str(target)).exit_code == 1
