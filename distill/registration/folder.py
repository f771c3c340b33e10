"""Everything that lies beside a student's model and tokenizer, written before the folder is sealed.

The manifest is the root: it lists the SHA-256 of each of these files, and its own is what is registered. Texts are in
none of them, and neither are their digests, which an erasure could not take out of a sealed folder.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from distill.registration import provenance
from distill.registration.card_files import write_card
from distill.registration.files import (
    CALIBRATION,
    DATA,
    LABELS,
    LICENCE,
    LINEAGE,
    LOCK,
    PARITY,
    REPORT,
    RUN,
    SBOM,
    TEACHER,
)
from distill.registration.sbom import sbom_of
from ledger.artifacts import MODEL_FILE, Manifest
from monitor.sums import SliceSums


@dataclass(frozen=True, slots=True)
class Background:
    """What the job knows of a student beside its manifest; what is left empty is left out."""

    lock_path: Path
    teacher: Mapping[str, Any]  # provider, version, when it was seen, how often it agrees with itself
    data: Mapping[str, Any] = field(
        default_factory=dict
    )  # the data manifest: counts, window, weights, digests
    calibration: Mapping[str, Any] = field(default_factory=dict)  # rows, likelihood before and after
    run: Mapping[str, Any] = field(default_factory=dict)  # the settings that make it again


def write_folder(
    folder: Path, manifest: Manifest, sums: Mapping[str, SliceSums], background: Background
) -> None:
    """All files but the manifest and the signature; done again it writes the same."""
    documents: dict[str, Any] = {
        LOCK: lock_without_rows(background.lock_path),
        REPORT: manifest.gate.model_dump(mode="json"),
        PARITY: manifest.parity,
        CALIBRATION: {
            "temperature": manifest.temperature,
            "how": manifest.calibration,
            **background.calibration,
        },
        DATA: {
            "rows": manifest.lineage.rows,
            "rows_digest": manifest.lineage.rows_digest,
            **background.data,
        },
        TEACHER: {"version": manifest.lineage.teacher_epoch, **background.teacher},
        LICENCE: manifest.licence,
        LINEAGE: manifest.lineage.model_dump(mode="json"),
        RUN: _run(manifest, background),
        LABELS: {str(place): name for place, name in enumerate(manifest.classes)},
    }
    for name, document in documents.items():
        _write(folder / name, document)
    packages = documents[RUN]["packages"]
    (folder / SBOM).write_text(sbom_of(manifest, {MODEL_FILE: _digest(folder / MODEL_FILE)}, packages))
    write_card(folder, manifest, sums)


def lock_without_rows(path: Path) -> dict[str, Any]:
    """The lock's terms, its digest, and of its rows their number and one digest over all."""
    content = path.read_bytes()
    document: dict[str, Any] = orjson.loads(content)
    rows = "\n".join(sorted(document["rows"]))
    return document | {
        "rows": len(document["rows"]),
        "rows_digest": hashlib.sha256(rows.encode()).hexdigest(),
        "digest": hashlib.sha256(content).hexdigest(),
    }


def _run(manifest: Manifest, background: Background) -> dict[str, Any]:
    """What has to be the same for the same weights."""
    spec = dict(background.run)
    return {
        "spec": spec,
        "spec_digest": hashlib.sha256(orjson.dumps(spec, option=orjson.OPT_SORT_KEYS)).hexdigest(),
        "seed": manifest.lineage.seed,
        "threads": manifest.lineage.threads,
        "code": provenance.code(),
        "machine": provenance.machine(),
        "packages": provenance.packages(),
    }


def _write(path: Path, document: object) -> None:
    path.write_bytes(orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS))


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
