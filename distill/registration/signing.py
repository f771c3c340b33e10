"""Signs a sealed folder with a local elliptic-curve key, in the format of OpenSSF model signing."""

from pathlib import Path

from ledger.artifacts import SIGNATURE_FILE


class CannotSign(Exception):
    """student.signing_key is set and cannot be used; the message says why."""


def sign(folder: Path, signing_key: Path | None) -> None:
    """Write the signature beside the files that it covers, the manifest among them; nothing without a key."""
    if signing_key is None:
        return
    signature = folder / SIGNATURE_FILE
    signature.unlink(missing_ok=True)
    try:
        from model_signing import hashing, signing

        config = signing.Config().use_elliptic_key_signer(private_key=signing_key)
        config.set_hashing_config(
            hashing.Config().set_ignored_paths(paths=[signature], ignore_git_paths=False)
        )
        config.sign(folder, signature)
    except Exception as error:  # the library raises what its parsers and its cryptography raise
        raise CannotSign(
            f"student.signing_key = {signing_key} cannot sign: {error}. It has to be a PEM file of an elliptic-curve"
            " key (P-256, P-384, P-521) without a password, and stillgate[signing] has to be installed"
        ) from error
