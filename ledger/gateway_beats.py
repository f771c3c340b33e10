"""Signs of life of gateways: the age of a file of each, beside its exchange file.

A gateway does not write the control file: a lock that somebody else holds there must never reach its path.
"""

import time
from collections.abc import Mapping
from pathlib import Path

GATEWAY_QUIET_SECONDS = 15.0  # three beats: a gateway silent for longer does not run, or hangs


def beat_path(data_directory: Path, gateway: str) -> Path:
    return data_directory / "exchanges" / f"{gateway}.beat"


def leave_beat(path: Path) -> None:
    """Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def end_beats(path: Path) -> None:
    """A gateway that was told to stop is not silent. Raises OSError."""
    path.unlink(missing_ok=True)


def beat_ages(data_directory: Path) -> Mapping[str, float]:
    """Seconds since the last sign of life, by gateway; those that were told to stop have none."""
    now, ages = time.time(), {}
    for path in sorted((data_directory / "exchanges").glob("*.beat")):
        try:
            ages[path.stem] = max(0.0, now - path.stat().st_mtime)
        except FileNotFoundError:
            continue  # told to stop just now
    return ages
