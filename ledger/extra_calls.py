"""Calls to a task's teacher that no caller asked for, counted over all gateways against one daily ceiling.

A day (UTC) of a task is a file in which each call is one byte, the letter of its purpose. Appending is atomic, and
where the byte came to lie says whether the call is still within the ceiling: no lock that a process could die with,
and neither a restart nor a SIGKILL makes the count smaller.
"""

import os
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from pathlib import Path

KEPT_DAYS = 7  # files of earlier days are removed with the first call of a new one


class Purpose(StrEnum):
    """What an extra call is for."""

    AUDIT = "audit"  # of a request that the student served
    PROBE = "probe"  # a frozen request, to see whether the teacher has changed
    SECOND = "second"  # a request asked twice, to see how often the teacher disagrees with itself


class Refusal(StrEnum):
    """Why an extra call may not be made."""

    CEILING = "daily_ceiling"  # extra_calls.per_day is used up
    UNCOUNTED = "uncounted"  # the count cannot be written, and what is not counted is not asked


_LETTERS = {Purpose.AUDIT: b"a", Purpose.PROBE: b"p", Purpose.SECOND: b"s"}


def take(
    data_directory: Path,
    task: str,
    purpose: Purpose,
    ceiling: int,
    day: date | None = None,
    kept_for_probes: int = 0,
) -> Refusal | None:
    """Count one call of this day (default: today), or say why it may not be made. A few file operations.

    Of the ceiling so many calls are kept for probes: what serves most must not hide that the teacher has changed.
    """
    day = day or today()
    path = _path(data_directory, task, day)
    try:
        is_new = not path.exists()
        if is_new:
            _begin_day(path.parent, task, day)
        size = 0 if is_new else path.stat().st_size
        if purpose is not Purpose.PROBE and size >= ceiling - kept_for_probes:
            probes = used(data_directory, task, day)[Purpose.PROBE]
            ceiling -= max(0, kept_for_probes - probes)
        if size >= ceiling:
            return Refusal.CEILING  # without a byte; only who is refused in a race leaves one
        return None if _append(path, _LETTERS[purpose]) <= ceiling else Refusal.CEILING
    except OSError:
        return Refusal.UNCOUNTED


def used(data_directory: Path, task: str, day: date | None = None) -> dict[Purpose, int]:
    """Calls of this day (default: today) so far, by purpose. Raises OSError where they cannot be read."""
    try:
        letters = _path(data_directory, task, day or today()).read_bytes()
    except FileNotFoundError:
        letters = b""
    return {purpose: letters.count(letter) for purpose, letter in _LETTERS.items()}


def today() -> date:
    return datetime.now(UTC).date()


def _path(data_directory: Path, task: str, day: date) -> Path:
    return data_directory / "extra_calls" / f"{task}-{day.isoformat()}"


def _append(path: Path, letter: bytes) -> int:
    """Where the file ends after it; a descriptor of its own, since its offset tells that."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(descriptor, letter)
        return os.lseek(descriptor, 0, os.SEEK_CUR)
    finally:
        os.close(descriptor)


def _begin_day(folder: Path, task: str, day: date) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    oldest = day - timedelta(days=KEPT_DAYS)
    for earlier in folder.glob(f"{task}-????-??-??"):
        with suppress(FileNotFoundError):  # another gateway removes them too
            if earlier.name < f"{task}-{oldest.isoformat()}":
                earlier.unlink()
