"""Secrets of a deployment: random keys in files of its data directory, made once, readable by their owner alone."""

import os
import secrets
from pathlib import Path

KEY_BYTES = 32


def kept_key(path: Path) -> bytes:
    """The key, made by the first call of any process. Raises OSError where it can be neither read nor written."""
    return existing_key(path) or _made(path)


def existing_key(path: Path) -> bytes | None:
    """The key, or None where none was made. Raises OSError."""
    try:
        key = path.read_bytes()
    except FileNotFoundError:
        return None
    if len(key) != KEY_BYTES:
        raise OSError(f"it holds {len(key)} bytes where {KEY_BYTES} belong; remove it to have one made")
    return key


def _made(path: Path) -> bytes:
    """Complete or absent: another process of the deployment may start at the same time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    key = secrets.token_bytes(KEY_BYTES)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(key)
    try:
        os.link(unfinished, path)
    except FileExistsError:
        return path.read_bytes()
    finally:
        unfinished.unlink()
    return key
