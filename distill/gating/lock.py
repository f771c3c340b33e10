"""The gate's lock: what will be judged, how, and against which bars, hashed before a training row is read."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from distill.curation.split import GateRow, LockedRows
from distill.gating.terms import signature_of, terms_of
from ledger.configuration import TaskSection
from ledger.job_folders import LOCK_FILE, write_whole


class GateUnlocked(Exception):
    """The gate is not the one that was locked before training."""


@dataclass(frozen=True, slots=True)
class Lock:
    """A written lock: its digest goes into the student, and the gate checks its rows against it."""

    digest: str
    rows: LockedRows


def lock_gate(folder: Path, task: TaskSection, gate_rows: Sequence[GateRow]) -> Lock:
    """Write the lock. An existing one of the same job stands, whatever arrived since. Raises Unsigned."""
    path = folder / LOCK_FILE
    if not path.exists():
        document = terms_of(task) | {
            "signature": signature_of(task),
            "rows": dict(sorted((entry.row.digest, entry.drawn_for) for entry in gate_rows)),
            # near-duplicates that these rows stand for: they are rows of a gate as well, in every later round
            "also": {digest: entry.drawn_for for entry in gate_rows for digest in entry.row.also},
        }
        write_whole(path, document)
    return read_lock(path)


def read_lock(path: Path) -> Lock:
    content = path.read_bytes()
    return Lock(hashlib.sha256(content).hexdigest(), orjson.loads(content)["rows"])


def rows_locked_before(jobs_folder: Path, task: str, but: Path) -> LockedRows:
    """Every row that any earlier job of the task ever locked, and their near-duplicates of the time."""
    locked: dict[str, str | None] = {}
    for path in sorted(jobs_folder.glob(f"*/{LOCK_FILE}")):
        document: dict[str, Any] = orjson.loads(path.read_bytes())
        if path.parent != but and document["task"] == task:
            locked |= {**document.get("also", {}), **document["rows"]}
    return locked


def check_lock(path: Path, lock: Lock, judged: Iterable[GateRow]) -> None:
    """Raise GateUnlocked unless exactly the locked rows are about to be judged under the locked terms."""
    if read_lock(path).digest != lock.digest:
        raise GateUnlocked(f"{path} changed after it was locked ({lock.digest[:12]}...); start a new job")
    digests = {entry.row.digest for entry in judged}
    if digests != set(lock.rows):
        raise GateUnlocked(
            f"{len(digests ^ set(lock.rows))} rows differ between the gate and its lock {path}; start a new job"
        )
