"""Whose exchange it is, without saying who: a keyed hash of what the caller's header names.

The value itself is stored nowhere. The hash is another one for each task, so that tasks cannot be joined by it.
"""

import hashlib
from pathlib import Path

from ledger.kept_key import existing_key, kept_key

KEY_FILE = "subject.key"
PSEUDONYM_BYTES = 16


def subject_key(data_directory: Path) -> bytes:
    """The secret of this deployment, made by the first gateway that needs it. Raises OSError."""
    return kept_key(data_directory / KEY_FILE)


def known_subject_key(data_directory: Path) -> bytes | None:
    """The same, or None while no gateway has made it. Raises OSError."""
    return existing_key(data_directory / KEY_FILE)


def pseudonym(key: bytes, task: str, value: bytes) -> str:
    """What is stored of a header's value: 32 hexadecimal digits. What is no UTF-8 is read as ISO 8859-1."""
    content = b"%b\0%b" % (task.encode(), _text_of(value).encode())
    return hashlib.blake2b(content, digest_size=PSEUDONYM_BYTES, key=key).hexdigest()


def _text_of(value: bytes) -> str:
    """So that whoever types the name finds what callers spell in either."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")
