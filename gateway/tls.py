"""TLS towards callers: one context, whose certificate can be read again while it is in use."""

import ssl
from pathlib import Path

from ledger.configuration import GatewaySection


class CertificateUnusable(Exception):
    """The certificate or its key cannot be read, or they do not belong together."""

    def __init__(self, certificate: Path, key: Path, error: Exception) -> None:
        super().__init__(
            f"gateway.tls_certificate = {str(certificate)!r} and gateway.tls_key = {str(key)!r} cannot be used:"
            f" {error}. Both have to be PEM files, the certificate followed by its chain, the key without password."
        )


class Certificate:
    """TLS 1.2 and above, HTTP/1.1 by ALPN. Raises CertificateUnusable when made."""

    def __init__(self, certificate: Path, key: Path) -> None:
        self._certificate, self._key = certificate, key
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.context.set_alpn_protocols(["http/1.1"])
        self.context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
        self.read_again()

    def read_again(self) -> None:
        """Take what the files hold now for every handshake from here on; connections that stand stay as they are.

        Raises CertificateUnusable; the context then keeps what it had.
        """
        try:
            # tried apart first: a key that does not fit would leave the context with half of the new pair
            self._load_into(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
            self._load_into(self.context)
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            raise CertificateUnusable(self._certificate, self._key, error) from error

    def _load_into(self, context: ssl.SSLContext) -> None:
        context.load_cert_chain(self._certificate, self._key, password=_no_password)


def certificate_of(section: GatewaySection) -> Certificate | None:
    """None where callers speak plain HTTP. Raises CertificateUnusable."""
    if section.tls_certificate is None or section.tls_key is None:
        return None
    return Certificate(section.tls_certificate, section.tls_key)


def _no_password() -> str:
    """Asked for an encrypted key; without an answer OpenSSL would ask on the terminal."""
    return ""
