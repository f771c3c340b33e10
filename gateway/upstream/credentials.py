"""Header fields that the teacher gets from us instead of from the caller, such as its key."""

import os
from collections.abc import Sequence

from gateway.upstream.unusable import CredentialUnusable
from ledger.configuration import CredentialSection

_FIELD_VALUE = bytes([9, *range(32, 127), *range(128, 256)])  # RFC 9110, section 5.5

Fields = tuple[tuple[bytes, bytes], ...]


def credentials_of(sections: Sequence[CredentialSection]) -> Fields:
    """Raises CredentialUnusable."""
    return tuple(
        (section.header.lower().encode(), section.prefix.encode() + _value_of(section))
        for section in sections
    )


def _value_of(section: CredentialSection) -> bytes:
    where, value = _read(section)
    if not value:
        raise CredentialUnusable(f"{where} is empty; it has to hold the value of {section.header}")
    if value.translate(None, _FIELD_VALUE):
        raise CredentialUnusable(f"{where} holds a byte that no header field may have, such as a line end")
    return value


def _read(section: CredentialSection) -> tuple[str, bytes]:
    if section.file is not None:
        where = f"task.teacher.credential.file = {str(section.file)!r}"
        try:
            return where, section.file.read_bytes().strip()
        except OSError as error:
            raise CredentialUnusable(f"{where} cannot be read: {error.strerror or error}") from error
    assert section.environment is not None
    where = f"task.teacher.credential.environment = {section.environment!r}"
    value = os.environb.get(section.environment.encode())
    if value is None:
        raise CredentialUnusable(f"{where}: no such variable is set where the gateway runs")
    return where, value.strip()
