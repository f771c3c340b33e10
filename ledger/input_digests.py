"""What stands for a text where the text itself must not: in the record, in lists of rows, in locks."""

import hashlib


def digest_of(text: str) -> str:
    """BLAKE2b of 16 bytes, in hexadecimal."""
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
