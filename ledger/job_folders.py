"""The folder of a distillation job: which rows it read, as digests of their texts, and what an erasure takes out.

The texts themselves are nowhere but in the record and, while it runs, in the memory of the job's process.
"""

import hashlib
import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

LOCK_FILE = "gate.lock.json"
ROWS_FILE = "rows.json"
REVIEW_FILE = "review.json"  # rows that people should look at, and what they said: distill.curation.review
SCRATCH = "scratch"  # what stages keep only to be faster the next time, such as embeddings of texts
AGREED_FILE = "agreed.json"  # of one look at the gate: digest of a row -> whether the student agrees
ROUND_FILE = "round.json"  # distill.gating.rounds: which rows the student agreed on


@dataclass(frozen=True, slots=True)
class RowLists:
    """Digests of the texts that a job read."""

    gate: frozenset[str]
    training: frozenset[str] | None  # None where no list was kept


def job_folder(data_directory: Path, job_id: int) -> Path:
    return data_directory / "jobs" / str(job_id)


def write_rows(folder: Path, parts: Mapping[str, Collection[str]]) -> None:
    """Which rows train, stop and calibrate: digests by part."""
    write_whole(folder / ROWS_FILE, {part: sorted(digests) for part, digests in parts.items()})


def read_lists(folder: Path) -> RowLists:
    lock, rows = _read(folder / LOCK_FILE), _read(folder / ROWS_FILE)
    training = None if rows is None else frozenset(digest for part in rows.values() for digest in part)
    return RowLists(frozenset(() if lock is None else _locked(lock)), training)


def training_rows(folder: Path) -> list[str]:
    """Digests of the rows that a job trained on; none where it kept no list."""
    rows = _read(folder / ROWS_FILE)
    return [] if rows is None else list(rows.get("train", ()))


def forget_rows(folder: Path, digests: Collection[str]) -> None:
    """Take these rows out of all lists, and away with what was computed from texts; done again it changes nothing.

    The lock then has another digest. A gate that was judged by it names the first one, which the lock keeps.
    """
    gone = frozenset(digests)
    remove_scratch(folder)
    rows = _read(folder / ROWS_FILE)
    if rows is not None and any(not gone.isdisjoint(part) for part in rows.values()):
        write_rows(folder, {part: set(digests) - gone for part, digests in rows.items()})
    judged = _read(folder / ROUND_FILE)
    if judged is not None and not gone.isdisjoint(judged["agreed"]):
        write_whole(
            folder / ROUND_FILE, judged | {name: _left(judged[name], gone) for name in ("agreed", "members")}
        )
    for path in folder.glob(f"*/*/{AGREED_FILE}"):
        if not gone.isdisjoint(_read(path)):
            shutil.rmtree(path.parent)  # a job that goes on judges anew, without these rows
    lock = _read(folder / LOCK_FILE)
    if lock is not None and not gone.isdisjoint(_locked(lock)):
        write_whole(folder / LOCK_FILE, _without(lock, gone, folder / LOCK_FILE))
    review = _read(folder / REVIEW_FILE)
    if review is not None and not gone.isdisjoint(review["rows"]):
        write_whole(folder / REVIEW_FILE, {**review, "rows": _left(review["rows"], gone)})


def _locked(lock: Mapping[str, Any]) -> frozenset[str]:
    """The rows of a gate, and the near-duplicates that they stand for."""
    return frozenset((*lock["rows"], *lock.get("also", {})))


def _without(lock: dict[str, Any], gone: frozenset[str], path: Path) -> dict[str, Any]:
    kept = _left(lock["rows"], gone)
    earlier = lock.get("erased") or {"rows": 0, "locked_as": hashlib.sha256(path.read_bytes()).hexdigest()}
    erased = {**earlier, "rows": earlier["rows"] + len(lock["rows"]) - len(kept)}
    return {**lock, "rows": kept, "also": _left(lock.get("also", {}), gone), "erased": erased}


def remove_scratch(folder: Path) -> None:
    """Costs a later stage time and nothing else."""
    shutil.rmtree(folder / SCRATCH, ignore_errors=True)


def _left(by_digest: Mapping[str, Any], gone: frozenset[str]) -> dict[str, Any]:
    return {digest: value for digest, value in by_digest.items() if digest not in gone}


def write_whole(path: Path, document: object) -> None:
    """Complete or absent."""
    staging = path.with_suffix(".part")
    staging.write_bytes(orjson.dumps(document, option=orjson.OPT_INDENT_2))
    staging.rename(path)


def _read(path: Path) -> Any:
    """The document, or None where there is none."""
    try:
        return orjson.loads(path.read_bytes())
    except FileNotFoundError:
        return None
