"""A file that only takes room: given up when the disk is full, so that the exchange file can still be closed,
checkpointed and settled, and laid down again when there is room for it and as much again."""

import errno
import os
import sqlite3
from pathlib import Path

from sqlalchemy.exc import DBAPIError

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def lay_ballast(path: Path, size: int) -> bool:
    """Whether the ballast lies there now. False while the disk has not twice its size to spare."""
    if size == 0:
        return True
    try:
        if path.exists() and path.stat().st_size >= size:
            return True
        room = os.statvfs(path.parent)
        if room.f_bavail * room.f_frsize < 2 * size:
            return False
        with path.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, size)
    except OSError:
        give_up_ballast(path)
        return False
    return True


def give_up_ballast(path: Path) -> bool:
    """Whether there was one to give up."""
    try:
        path.unlink()
    except OSError:
        return False
    return True


def is_no_room(error: BaseException) -> bool:
    """Whether a write failed for want of room on the disk."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(cause, sqlite3.Error):
        return primary_code(cause) == sqlite3.SQLITE_FULL
    return isinstance(cause, OSError) and cause.errno in _NO_ROOM


def primary_code(error: sqlite3.Error) -> int:
    """SQLite's error without the details; 0 for an error of the driver itself."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF
