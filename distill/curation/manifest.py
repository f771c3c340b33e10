"""The data manifest: what a student learned from, in counts and hashes, never in texts.

Its digest is part of the student's lineage. The row lists that it vouches for lie beside it, in rows.json, where an
erasure finds them; an erased row shows as missing, a row that was put in or exchanged as tampering.
"""

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson

from distill.curation.coverage import CoverageReport
from distill.curation.licence import licence_digest, licence_problem
from distill.curation.rows import Ingested, Row, Source
from distill.curation.weighing import WeightSummary
from ledger.configuration import TaskSection
from ledger.job_folders import write_whole

MANIFEST_FILE = "data.manifest.json"
FORMAT = 1


class ManifestRefused(Exception):
    """The data must not be trained on, or is not what the manifest says; with the exact reason."""


@dataclass(frozen=True, slots=True)
class StageCounts:
    """Rows in and out of one step: `rows_in = rows_out + sum(left_out)`."""

    stage: str
    rows_in: int
    rows_out: int
    left_out: Mapping[str, int]

    @property
    def adds_up(self) -> bool:
        return self.rows_in == self.rows_out + sum(self.left_out.values())


@dataclass(frozen=True, slots=True)
class Curation:
    """All that the manifest tells of."""

    ingested: Ingested
    stages: Sequence[StageCounts]
    parts: Mapping[str, Collection[str]]  # part -> digests of its rows, the gate's included
    train: Sequence[Row]  # with their final weights
    weights: WeightSummary
    coverage: CoverageReport
    replay_jobs: Sequence[int] = ()


def write_manifest(folder: Path, task: TaskSection, curation: Curation) -> str:
    """Write it and return its SHA-256. Raises ManifestRefused where the licence does not permit distillation, or
    where rows vanish between two steps without a reason."""
    problem = licence_problem(task)
    if problem is not None:
        raise ManifestRefused(problem)
    odd = [stage for stage in curation.stages if not stage.adds_up]
    if odd:
        one = odd[0]
        raise ManifestRefused(
            f"{one.stage}: {one.rows_in} rows went in, {one.rows_out} came out and"
            f" {sum(one.left_out.values())} have a reason; the counts must add up"
        )
    path = folder / MANIFEST_FILE
    write_whole(path, document_of(task, curation))
    return digest_of(path)


def document_of(task: TaskSection, curation: Curation) -> dict[str, Any]:
    """What is written."""
    assert task.licence is not None
    ingested = curation.ingested
    licence = task.licence.model_dump(mode="json")
    return {
        "format": FORMAT,
        "task": task.name,
        "classes": list(task.classes),
        "teacher_epoch": task.teacher.version,
        "window": asdict(ingested.window),
        "stages": [{**asdict(stage), "left_out": _plain(stage.left_out)} for stage in curation.stages],
        "rows": {
            part: {"count": len(digests), "sha256": rows_digest(digests)}
            for part, digests in sorted(curation.parts.items())
        },
        "weights": {**asdict(curation.weights), "sha256": weights_digest(curation.train)},
        "sources": {str(source): sum(row.source is source for row in curation.train) for source in Source},
        "replay_jobs": list(curation.replay_jobs),
        "self_agreement": {
            "inputs": ingested.agreement.inputs,
            "agreements": ingested.agreement.agreements,
            "low": ingested.agreement.low,
            "high": ingested.agreement.high,
        },
        "labels": _plain(ingested.labels),
        "scope": curation.coverage.scope(),
        "settings": task.curation.model_dump(mode="json"),
        "licence": {"sha256": licence_digest(licence), **licence},
    }


def verify_manifest(
    folder: Path, digest: str, parts: Mapping[str, Collection[str]], task: TaskSection, erased: int = 0
) -> dict[str, Any]:
    """The manifest, if it is the one of this digest, its lists are those that it vouches for and the licence is
    still the one that it names. `erased`: rows of the lists that an erasure took out. Raises ManifestRefused."""
    path = folder / MANIFEST_FILE
    if not path.is_file():
        raise ManifestRefused(f"{path} is missing; a student without it cannot be registered")
    found = digest_of(path)
    if found != digest:
        raise ManifestRefused(
            f"{path} has the digest {found[:12]}..., not {digest[:12]}... as it was written"
        )
    document: dict[str, Any] = orjson.loads(path.read_bytes())
    problems = [*_licence_problems(document, task), *_list_problems(document["rows"], parts, erased)]
    if problems:
        raise ManifestRefused(f"{path}: " + "; ".join(problems))
    return document


def digest_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def rows_digest(digests: Iterable[str]) -> str:
    """SHA-256 of the sorted row ids, a line each."""
    return hashlib.sha256("".join(f"{digest}\n" for digest in sorted(digests)).encode()).hexdigest()


def weights_digest(rows: Iterable[Row]) -> str:
    """SHA-256 of row ids with weights to six digits, sorted."""
    lines = sorted(f"{row.digest} {row.weight:.6g}\n" for row in rows)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _plain(counts: Mapping[str, int]) -> dict[str, int]:
    return {str(reason): count for reason, count in sorted(counts.items())}


def _licence_problems(document: Mapping[str, Any], task: TaskSection) -> list[str]:
    problem = licence_problem(task)
    if problem is not None:
        return [problem]
    assert task.licence is not None
    now, then = licence_digest(task.licence.model_dump(mode="json")), document["licence"]
    if now == then["sha256"]:
        return []
    was = f"{then['sha256'][:12]}..., decided by {then['decided_by']}"
    return [f"the licence record is another one ({now[:12]}...) than when the data was curated ({was})"]


def _list_problems(
    rows: Mapping[str, Mapping[str, Any]], parts: Mapping[str, Collection[str]], erased: int
) -> list[str]:
    problems = []
    missing = 0
    for part, told in rows.items():
        have = parts.get(part)
        if have is None:
            problems.append(f"the list of {part} rows is missing")
        elif len(have) < told["count"] and erased:
            missing += told["count"] - len(have)
        elif rows_digest(have) != told["sha256"]:
            problems.append(
                f"the list of {part} rows is another one: {len(have)} rows, {told['count']} when it was curated"
            )
    if missing > erased:
        problems.append(f"{missing} rows are missing from the lists, and {erased} were erased")
    return problems
