"""Which exchanges the shadow answers: a keyed hash of their number, so that no caller can steer or foresee it.

The draw is the same for every student, so that two of them are compared on the same exchanges.
"""

import hashlib
import logging
import secrets
from pathlib import Path

from ledger.kept_key import KEY_BYTES, kept_key

KEY_FILE = "sampling.key"
_SPAN = float(2**64)

log = logging.getLogger(__name__)


def sampling_key(data_directory: Path) -> bytes:
    """The secret of this deployment; where it can be neither read nor written, one that lasts for this run."""
    path = data_directory / KEY_FILE
    try:
        return kept_key(path)
    except OSError as error:
        log.warning("%s: %s; another key is drawn for this run. action=sampling_key", path, error)
        return secrets.token_bytes(KEY_BYTES)


def is_drawn(key: bytes, gateway: str, sequence: int, share: float) -> bool:
    """True for `share` of all exchanges."""
    if share >= 1:
        return True
    digest = hashlib.blake2b(b"%s-%d" % (gateway.encode(), sequence), digest_size=8, key=key).digest()
    return int.from_bytes(digest, "big") / _SPAN < share
