"""Whether what lies on disk is still what was locked, read, allowed and judged; each difference has its sentence."""

import hashlib
from pathlib import Path
from typing import Any

import orjson

from distill.registration.files import DATA, LICENCE, LOCK, REPORT
from ledger.artifacts import Manifest
from ledger.job_folders import LOCK_FILE, job_folder


def difference(data_directory: Path, folder: Path, manifest: Manifest) -> str | None:
    """The first thing that does not fit, or None. The files' digests have been verified before."""
    return (
        _lock_differs(job_folder(data_directory, manifest.lineage.job_id) / LOCK_FILE, manifest)
        or _copy_differs(folder / LOCK, "digest", manifest.gate.lock_digest, "the gate's lock")
        or _copy_differs(folder / DATA, "rows_digest", manifest.lineage.rows_digest, "the data manifest")
        or _record_differs(folder / LICENCE, dict(manifest.licence), "the licence record")
        or _record_differs(folder / REPORT, manifest.gate.model_dump(mode="json"), "the gate's report")
    )


def _lock_differs(path: Path, manifest: Manifest) -> str | None:
    """An erasure may have taken rows out of it; then it keeps the digest that it had."""
    if not path.is_file():
        return f"the gate's lock {path} is gone; nobody can tell what it was judged on"
    content = path.read_bytes()
    erased = orjson.loads(content).get("erased")
    found = erased["locked_as"] if erased else hashlib.sha256(content).hexdigest()
    if found != manifest.gate.lock_digest:
        return (
            f"the gate's lock {path} has the digest {found[:12]}..., and the student was judged under"
            f" {manifest.gate.lock_digest[:12]}...: one of them was changed; start a new job"
        )
    return None


def _copy_differs(path: Path, key: str, expected: str, what: str) -> str | None:
    document = _document(path)
    if document is None:
        return f"{what} {path.name} is missing from the artifact"
    if document.get(key) != expected:
        return f"{what} in {path.name} is for other rows ({key} {str(document.get(key))[:12]}...) than the manifest's"
    return None


def _record_differs(path: Path, expected: dict[str, Any], what: str) -> str | None:
    document = _document(path)
    if document is None:
        return f"{what} {path.name} is missing from the artifact"
    if document != expected:
        changed = sorted(key for key in {*document, *expected} if document.get(key) != expected.get(key))
        return f"{what} {path.name} differs from the manifest's in {', '.join(changed)}"
    return None


def _document(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    document: dict[str, Any] = orjson.loads(path.read_bytes())
    return document
