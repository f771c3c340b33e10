"""What of a task's teacher section the path of a request needs, prepared once."""

import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from gateway.upstream.credentials import credentials_of
from gateway.upstream.unusable import TlsUnusable
from ledger.configuration import TeacherSection


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
    withheld: frozenset[bytes]  # names of the caller's fields that the teacher never gets
    credentials: Sequence[tuple[bytes, bytes]] = field(repr=False)  # fields that it gets from us


def settings_of(section: TeacherSection) -> Settings:
    """Raises UpstreamUnusable."""
    url = urlsplit(section.url)
    is_tls = url.scheme == "https"
    credentials = credentials_of(section.credential)
    withheld = {name.lower().encode() for name in section.withhold}
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
        frozenset(withheld.union(name for name, _ in credentials)),
        credentials,
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
