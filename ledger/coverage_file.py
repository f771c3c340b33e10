"""What a gateway process says of its shadow coverage, left in a small file for the control process to read."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from ledger.clock import now_us

SUFFIX = ".coverage"


def write_coverage(
    data_directory: Path, gateway: str, since_us: int, students: Sequence[Mapping[str, Any]]
) -> None:
    """Complete or as before: a reader never sees half of it. Raises OSError."""
    path = data_directory / "exchanges" / f"{gateway}{SUFFIX}"
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.write_bytes(
        orjson.dumps({"gateway": gateway, "since_us": since_us, "at_us": now_us(), "students": students})
    )
    unfinished.rename(path)


def read_coverage(data_directory: Path) -> Iterator[dict[str, Any]]:
    """What each gateway said last; an unreadable file is left out."""
    for path in sorted((data_directory / "exchanges").glob(f"*{SUFFIX}")):
        try:
            document: dict[str, Any] = orjson.loads(path.read_bytes())
        except (OSError, orjson.JSONDecodeError):
            continue
        yield document
