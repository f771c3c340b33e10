"""The signature of an artifact's folder, verified with a local public key before anything in it is used.

The format is that of OpenSSF model signing, so that `model_signing verify key` verifies it elsewhere.
"""

import re
from pathlib import Path

from ledger.artifacts import SIGNATURE_FILE, ArtifactError

_CHANGED_FILE = re.compile(r"Hash mismatch for \\*'(.+?)\\*':")


def check_signature(folder: Path, public_key: Path | None) -> None:
    """Nothing without a key. Raises ArtifactError unless every file is as it was signed by the key's owner."""
    if public_key is None:
        return
    try:
        from model_signing import verifying  # takes a second, and only where a key is set
    except ImportError as error:
        raise ArtifactError(
            f"{folder} cannot be verified: student.public_key is set and a package is missing ({error}); install"
            " stillgate[signing]"
        ) from None
    signature = folder / SIGNATURE_FILE
    if not signature.is_file():
        raise ArtifactError(
            f"{folder} has no {SIGNATURE_FILE}, and student.public_key = {public_key} demands one"
        )
    try:
        verifying.Config().use_elliptic_key_verifier(public_key=public_key).verify(folder, signature)
    except Exception as error:  # the library raises what its parsers and its cryptography raise
        raise ArtifactError(f"{signature} does not hold for {public_key}: {_said(error)}") from None


def _said(error: Exception) -> str:
    """The files that differ, where the library tells them beside pages of digests."""
    changed = _CHANGED_FILE.findall(str(error))
    if changed:
        return f"changed since it was signed: {', '.join(changed)}"
    return str(error) or type(error).__name__
