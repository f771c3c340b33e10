"""A bill of materials in CycloneDX: the model, the data it learnt from, the packages that made it."""

from collections.abc import Mapping
from datetime import UTC, datetime
from uuid import NAMESPACE_URL, uuid5

from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

from distill.registration.provenance import release
from ledger.artifacts import MODEL_FILE, Manifest


def sbom_of(manifest: Manifest, digests: Mapping[str, str], packages: Mapping[str, str]) -> str:
    """JSON of specification 1.6; the same student gives the same text.

    `digests` are SHA-256 by file name, `packages` versions by name.
    """
    model_digest = digests[MODEL_FILE]
    model = Component(
        type=ComponentType.MACHINE_LEARNING_MODEL,
        name=f"{manifest.task}-{manifest.kind}",
        version=model_digest[:12],
        bom_ref="model",
        description=f"student of the task {manifest.task}, distilled from its teacher's logged answers",
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=model_digest)],
        properties=[
            Property(name="stillgate:teacher_version", value=manifest.lineage.teacher_epoch),
            Property(name="stillgate:gate_lock", value=manifest.gate.lock_digest),
        ],
    )
    rows = Component(
        type=ComponentType.DATA,
        name=f"{manifest.task} rows",
        version=manifest.lineage.rows_digest[:12],
        bom_ref="rows",
        description=f"{manifest.lineage.rows.get('train', 0)} exchanges of the record; the texts stay there",
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=manifest.lineage.rows_digest)],
    )
    libraries = [_library(name, release) for name, release in sorted(packages.items())]
    bom = Bom(components=[rows, *libraries], serial_number=uuid5(NAMESPACE_URL, f"sha256:{model_digest}"))
    bom.metadata.component = model
    bom.metadata.timestamp = datetime.fromtimestamp(manifest.certificate.issued_at_us / 1e6, UTC)
    bom.metadata.tools.components.add(
        Component(type=ComponentType.APPLICATION, name="stillgate", version=release())
    )
    bom.register_dependency(model, [rows, *libraries])
    return JsonV1Dot6(bom).output_as_string(indent=2)


def _library(name: str, release: str) -> Component:
    return Component(
        type=ComponentType.LIBRARY,
        name=name,
        version=release,
        bom_ref=f"{name}@{release}",
        purl=PackageURL("pypi", None, name.lower().replace("_", "-"), release),
    )
