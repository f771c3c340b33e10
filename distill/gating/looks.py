"""Who has looked at a locked gate: each candidate once, and no more of them than were planned in the lock."""

from pathlib import Path
from typing import Any

import orjson

from distill.gating.lock import Lock
from ledger.clock import now_us
from ledger.job_folders import write_whole

LOOKS_FILE = "gate.looks.json"


class LooksSpent(Exception):
    """As many candidates as were planned have looked at this gate."""


def take_look(folder: Path, lock: Lock, candidate: str, looks: int) -> None:
    """Enter a look before it is taken. The artifacts of a candidate share its look, and so does a look that is taken
    again after a crash. Raises LooksSpent."""
    taken = looks_taken(folder)
    names = {entry["candidate"] for entry in taken}
    if candidate in names:
        return
    if len(names) >= looks:
        raise LooksSpent(
            f"{candidate} may not look at the gate {lock.digest[:12]}...: its {looks} looks were taken by"
            f" {', '.join(sorted(names))}. A new job locks a gate with new rows."
        )
    taken.append({"candidate": candidate, "lock": lock.digest, "at_us": now_us()})
    write_whole(folder / LOOKS_FILE, taken)


def looks_taken(folder: Path) -> list[dict[str, Any]]:
    path = folder / LOOKS_FILE
    taken: list[dict[str, Any]] = orjson.loads(path.read_bytes()) if path.exists() else []
    return taken
