"""What a teacher section names and cannot be used: found at the start, at a reload, and by `stillgate check`."""

from pathlib import Path


class UpstreamUnusable(Exception):
    """The message says which setting, why, and what it has to be."""


class TlsUnusable(UpstreamUnusable):
    """A certificate file cannot be used."""

    def __init__(self, setting: str, path: Path, error: OSError) -> None:
        reason = error.strerror or str(error)
        super().__init__(
            f"task.teacher.{setting} = {str(path)!r} cannot be used: {reason}."
            " It has to be a readable file in PEM form."
        )


class CredentialUnusable(UpstreamUnusable):
    """The message names the file or variable, never what it holds."""
