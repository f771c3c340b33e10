"""Which exchanges the shadow answers: a keyed hash of their number, so that no caller can steer or foresee it.

The draw is the same for every student, so that two of them are compared on the same exchanges.
"""

import hashlib
import logging
import os
import secrets
from pathlib import Path

KEY_FILE = "sampling.key"
KEY_BYTES = 32
_SPAN = float(2**64)

log = logging.getLogger(__name__)


def sampling_key(data_directory: Path) -> bytes:
    """The secret of this deployment, made at the first start and readable by its owner alone.

    Where it can be neither read nor written, one that lasts for this run.
    """
    path = data_directory / KEY_FILE
    try:
        return _existing(path) or _made(path)
    except OSError as error:
        log.warning("%s: %s; another key is drawn for this run. action=sampling_key", path, error)
        return secrets.token_bytes(KEY_BYTES)


def is_drawn(key: bytes, gateway: str, sequence: int, share: float) -> bool:
    """True for `share` of all exchanges."""
    if share >= 1:
        return True
    digest = hashlib.blake2b(b"%s-%d" % (gateway.encode(), sequence), digest_size=8, key=key).digest()
    return int.from_bytes(digest, "big") / _SPAN < share


def _existing(path: Path) -> bytes | None:
    try:
        key = path.read_bytes()
    except FileNotFoundError:
        return None
    if len(key) != KEY_BYTES:
        raise OSError(f"it holds {len(key)} bytes where {KEY_BYTES} belong; remove it to have one made")
    return key


def _made(path: Path) -> bytes:
    """Complete or absent: another gateway of the deployment may start at the same time."""
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
