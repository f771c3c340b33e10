"""Signatures with a local key: made when a student is sealed, demanded when it is registered or loaded."""

import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from distill.registration.signing import CannotSign, sign
from ledger.artifacts import SIGNATURE_FILE, ArtifactError
from ledger.configuration import StudentSection
from student.session import Student
from student.signature import check_signature
from tests.artifacts import TinyArtifact, tiny_artifact


def write_keys(folder: Path, name: str) -> tuple[Path, Path]:
    """An elliptic-curve key and its public half, as openssl writes them."""
    key = ec.generate_private_key(ec.SECP256R1())
    private, public = folder / f"{name}.key", folder / f"{name}.pub"
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    public.write_bytes(
        key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    return private, public


@pytest.fixture
def tiny(tmp_path: Path) -> TinyArtifact:
    return tiny_artifact(tmp_path / "data", ["a", "b"])


def load(tiny: TinyArtifact, public_key: Path | None) -> Student:
    settings = StudentSection.model_validate({"public_key": public_key})
    return Student.load(tiny.folder, tiny.manifest_digest, settings)


def test_a_signed_student_is_loaded(tmp_path: Path, tiny: TinyArtifact) -> None:
    """With the key and without, and wherever its folder was moved to."""
    private, public = write_keys(tmp_path, "ours")
    sign(tiny.folder, private)

    assert load(tiny, public).answer(["a"])[0].probabilities
    assert load(tiny, None).answer(["a"])[0].probabilities
    elsewhere = tiny.folder.rename(tmp_path / "moved")
    check_signature(elsewhere, public)


def test_it_is_the_format_of_model_signing(tmp_path: Path, tiny: TinyArtifact) -> None:
    """Its own command verifies the folder."""
    private, public = write_keys(tmp_path, "ours")
    sign(tiny.folder, private)

    command = ["-m", "model_signing", "verify", "key", str(tiny.folder), "--public_key", str(public)]
    signature = ["--signature", str(tiny.folder / SIGNATURE_FILE)]
    verified = subprocess.run(
        [sys.executable, *command, *signature], capture_output=True, text=True, check=False
    )

    assert verified.returncode == 0, verified.stderr


def test_a_student_without_a_signature_is_refused_where_a_key_is_set(
    tmp_path: Path, tiny: TinyArtifact
) -> None:
    """The message names the setting."""
    _, public = write_keys(tmp_path, "ours")

    with pytest.raises(ArtifactError, match=r"has no model\.sig, and student\.public_key"):
        load(tiny, public)


def test_a_signature_of_somebody_else_is_refused(tmp_path: Path, tiny: TinyArtifact) -> None:
    """Their key made it."""
    private, _ = write_keys(tmp_path, "theirs")
    _, public = write_keys(tmp_path, "ours")
    sign(tiny.folder, private)

    with pytest.raises(ArtifactError, match="Key mismatch"):
        load(tiny, public)


def test_a_file_that_was_changed_after_signing_is_named(tmp_path: Path, tiny: TinyArtifact) -> None:
    """Also one that the manifest does not protect: the manifest itself."""
    private, public = write_keys(tmp_path, "ours")
    sign(tiny.folder, private)
    manifest = tiny.folder / "manifest.json"
    manifest.write_bytes(manifest.read_bytes() + b"\n")

    with pytest.raises(ArtifactError, match=r"changed since it was signed: manifest\.json"):
        check_signature(tiny.folder, public)


def test_a_signature_that_is_no_signature_is_refused(tmp_path: Path, tiny: TinyArtifact) -> None:
    """Whatever stands in the file."""
    _, public = write_keys(tmp_path, "ours")
    (tiny.folder / SIGNATURE_FILE).write_text("{}")

    with pytest.raises(ArtifactError, match="does not hold for"):
        check_signature(tiny.folder, public)


def test_a_key_that_cannot_sign_says_why(tmp_path: Path, tiny: TinyArtifact) -> None:
    """And leaves no half of a signature."""
    (tmp_path / "key").write_text("no key")

    with pytest.raises(CannotSign, match="has to be a PEM file of an elliptic-curve key"):
        sign(tiny.folder, tmp_path / "key")
    assert not (tiny.folder / SIGNATURE_FILE).exists()
