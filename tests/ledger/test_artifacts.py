"""An artifact is loaded only if it is, file for file, what was registered."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from ledger.artifacts import (
    MANIFEST,
    ArtifactError,
    Certificate,
    GateReport,
    Lineage,
    Manifest,
    artifact_folder,
    publish,
    seal,
    verify,
)

MANIFEST_OF_TEST = Manifest(
    task="desk",
    kind="static",
    classes=("a", "b"),
    max_tokens=64,
    temperature=1.0,
    calibration="fitted on 200 rows",
    parity={},
    milliseconds_per_answer=1.0,
    gate=GateReport(outcome="pass", reasons=(), lock_digest="l", alpha=0.05, verdicts=()),
    certificate=Certificate(
        max_disagreement=0.1,
        delta=0.05,
        teacher_epoch="1",
        issued_at_us=1,
        slices={},
        pairs={},
    ),
    lineage=Lineage(
        job_id=1,
        cause="by_hand",
        alarm_id=None,
        parent=None,
        teacher_epoch="1",
        rows_digest="r",
        rows={},
        threads=1,
        seed=0,
        libraries={},
    ),
    licence={},
    files={},
)


@pytest.fixture
def artifact(tmp_path: Path) -> tuple[Path, str]:
    """A published artifact and its registered digest."""
    made = tmp_path / "made"
    made.mkdir()
    (made / "model.onnx").write_bytes(b"weights")
    (made / "tokenizer.json").write_text("{}")
    digest = seal(made, MANIFEST_OF_TEST)
    return artifact_folder(tmp_path, publish(made, tmp_path, digest)), digest


def replace_by_hard_link(folder: Path) -> None:
    outside = folder.parent / "outside"
    outside.write_bytes((folder / "model.onnx").read_bytes())
    (folder / "model.onnx").unlink()
    os.link(outside, folder / "model.onnx")


def replace_by_symbolic_link(folder: Path) -> None:
    outside = folder.parent / "outside"
    (folder / "model.onnx").rename(outside)
    (folder / "model.onnx").symlink_to(outside)


def test_an_untouched_artifact_is_verified(artifact: tuple[Path, str]) -> None:
    """The manifest comes back with the digest of each file."""
    manifest = verify(*artifact)

    assert sorted(manifest.files) == ["model.onnx", "tokenizer.json"]
    assert manifest.classes == ("a", "b")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (
            lambda folder: (folder / "model.onnx").write_bytes(b"weightS"),
            "differs from its registered digest",
        ),
        (lambda folder: (folder / "model.onnx").unlink(), "the manifest lists"),
        (lambda folder: (folder / "more.bin").write_bytes(b""), "holds"),
        (lambda folder: (folder / MANIFEST).write_bytes(b"{}"), "differs from the registered digest"),
        (lambda folder: (folder / MANIFEST).unlink(), "is missing or was not published whole"),
        (replace_by_hard_link, "not a regular file with one link"),
        (replace_by_symbolic_link, "not a regular file with one link"),
    ],
)
def test_a_changed_artifact_is_refused(
    artifact: tuple[Path, str], spoil: Callable[[Path], object], said: str
) -> None:
    """A byte, a file more or less, or a link out of the folder: nothing of it is loaded."""
    folder, digest = artifact
    spoil(folder)

    with pytest.raises(ArtifactError, match=said):
        verify(folder, digest)


def test_publishing_twice_is_publishing_once(tmp_path: Path, artifact: tuple[Path, str]) -> None:
    """A job that is run again after it published changes nothing."""
    made = tmp_path / "made"

    assert publish(made, tmp_path, artifact[1]) == artifact[0].name
    assert verify(*artifact)
