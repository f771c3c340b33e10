"""What of a task's teacher section the path of a request needs, prepared once."""

import ssl
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from ledger.configuration import TeacherSection


class TlsUnusable(Exception):
    """A certificate file cannot be used."""

    def __init__(self, setting: str, path: Path, error: OSError) -> None:
        reason = error.strerror or str(error)
        super().__init__(
            f"task.teacher.{setting} = {str(path)!r} cannot be used: {reason}."
            " It has to be a readable file in PEM form."
        )


@dataclass(frozen=True, slots=True)
class Settings:
    host: str
    port: int
    host_field: bytes  # the value of Host
    tls: ssl.SSLContext | None
    connect_seconds: float
    first_byte_seconds: float  # from the end of the request to the end of the response's head
    idle_seconds: float
    total_seconds: float | None
    max_connections: int
    pool_wait_seconds: float
    max_head_bytes: int
    max_fields: int


def settings_of(section: TeacherSection) -> Settings:
    """Raises TlsUnusable."""
    url = urlsplit(section.url)
    is_tls = url.scheme == "https"
    return Settings(
        url.hostname or "",
        url.port or (443 if is_tls else 80),
        url.netloc.encode(),
        _tls_context(section) if is_tls else None,
        section.connect_seconds,
        section.first_byte_seconds,
        section.idle_seconds,
        section.total_seconds,
        section.max_connections,
        section.pool_wait_seconds,
        section.max_head_bytes,
        section.max_head_fields,
    )


def _tls_context(section: TeacherSection) -> ssl.SSLContext:
    """Verification and host name checks are on: that is what create_default_context means."""
    try:
        context = ssl.create_default_context(cafile=section.ca_file)
    except OSError as error:
        raise TlsUnusable("ca_file", section.ca_file or Path(), error) from error
    if section.client_certificate_file is not None:
        try:
            context.load_cert_chain(section.client_certificate_file, section.client_key_file)
        except OSError as error:
            raise TlsUnusable("client_certificate_file", section.client_certificate_file, error) from error
    context.set_alpn_protocols(["http/1.1"])
    return context
