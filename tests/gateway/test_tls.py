"""TLS towards callers, with real certificates made by openssl."""

import os
import signal
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.tls import Certificate, CertificateUnusable
from tests.gateway.raw_cases import get, post
from tests.gateway.running import Running, gateway, wait_until, write_configuration
from tests.gateway.strict import RawCaller
from tests.gateway.teachers import TeacherApp
from tests.gateway.test_process import run_to_its_end


def make_certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """A self-signed certificate for localhost, and its key."""
    certificate, key = folder / "gateway.pem", folder / "gateway.key"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    command += ["-days", "2", "-subj", f"/CN={name}", "-addext", "subjectAltName=DNS:localhost"]
    command += ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    return certificate, key


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tls")


@pytest.fixture(scope="module")
def secure(teacher_url: str, folder: Path) -> Iterator[Running]:
    """A gateway with a certificate, named relative to its configuration."""
    make_certificate(folder, "first")
    settings = 'tls_certificate = "gateway.pem"\ntls_key = "gateway.key"\nfirst_byte_seconds = 1'
    with gateway(folder, teacher_url, gateway=settings) as process:
        yield process


def secured(running: Running, trusted: str, context: ssl.SSLContext | None = None) -> RawCaller:
    """A caller that trusts just this certificate. Raises ssl.SSLError."""
    if context is None:
        context = ssl.create_default_context(cadata=trusted)
        context.set_alpn_protocols(["h2", "http/1.1"])
    connection = socket.create_connection(("127.0.0.1", running.port), timeout=10)
    return RawCaller.of(context.wrap_socket(connection, server_hostname="localhost"))


def test_requests_over_tls(secure: Running, teacher: TeacherApp, folder: Path) -> None:
    """Requests, bodies of some size and connections that go on, as without it; the teacher learns of https."""
    with secured(secure, (folder / "gateway.pem").read_text()) as caller:
        body = b"x" * 300_000
        caller.send(post(b"Content-Length: %d" % len(body), body=body) + get(target=b"/x?size=500000"))
        assert caller.answer().status == 200
        assert len(caller.answer().body) == 500_000
        assert caller.socket.selected_alpn_protocol() == "http/1.1"
    assert dict(teacher.seen[-1][3])[b"x-forwarded-proto"] == b"https"
    assert teacher.seen[-2][4] == body


def test_refusal_over_tls(secure: Running, folder: Path) -> None:
    """A refusal is said, then the connection is closed in order."""
    with secured(secure, (folder / "gateway.pem").read_text()) as caller:
        caller.send(get(b"X : 1"))
        assert caller.answer().status == 400
        assert caller.closed()


def test_plain_http_on_the_secure_port(secure: Running) -> None:
    """A caller that forgot TLS is closed, and reaches nobody."""
    with RawCaller(secure.port) as caller:
        caller.send(get())
        assert caller.closed()


def test_handshake_deadline(secure: Running) -> None:
    """A connection that never shakes hands is closed after first_byte_seconds."""
    with RawCaller(secure.port) as caller:
        assert caller.closed()


def test_old_versions_are_refused(secure: Running) -> None:
    """TLS 1.1 is not spoken; 1.2 is."""
    assert "Cipher is (NONE)" in hello(secure, "-tls1_1")
    assert "Cipher is ECDHE" in hello(secure, "-tls1_2")


def hello(running: Running, version: str) -> str:
    """What openssl says of a handshake; its own configuration would not offer old versions."""
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{running.port}", version]
    command += ["-cipher", "ALL:@SECLEVEL=0"]
    environment = {**os.environ, "OPENSSL_CONF": "/dev/null"}
    said = subprocess.run(command, env=environment, input="", capture_output=True, text=True, check=False)
    return said.stdout + said.stderr


def test_certificate_is_read_again(secure: Running, folder: Path) -> None:
    """After SIGHUP new connections get the certificate that the file holds now; one that stands goes on."""
    before = (folder / "gateway.pem").read_text()
    with secured(secure, before) as old:
        old.send(get())
        assert old.answer().status == 200
        make_certificate(folder, "second")
        secure.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "action=configuration_reloaded" in secure.log.read_text())
        with secured(secure, (folder / "gateway.pem").read_text()) as new:
            new.send(get())
            assert new.answer().status == 200
        with pytest.raises(ssl.SSLError):
            secured(secure, before)
        old.send(get())
        assert old.answer().status == 200


def test_key_of_another_certificate(tmp_path: Path) -> None:
    """A pair that does not belong together is refused whole, and what was loaded before stays."""
    certificate, key = make_certificate(tmp_path, "one")
    loaded = Certificate(certificate, key)
    other = tmp_path / "other"
    other.mkdir()
    certificate.write_text(make_certificate(other, "two")[0].read_text())
    with pytest.raises(CertificateUnusable, match=r"gateway\.tls_key"):
        loaded.read_again()


@pytest.mark.parametrize("broken", ["missing", "empty", "encrypted"])
def test_unusable_certificate(tmp_path: Path, broken: str) -> None:
    """A file that cannot be read, or whose key wants a password, is an error that names both."""
    certificate, key = make_certificate(tmp_path, "one")
    if broken == "missing":
        key.unlink()
    elif broken == "empty":
        certificate.write_text("")
    else:
        command = ["openssl", "ec", "-in", str(key), "-aes128", "-passout", "pass:secret", "-out", str(key)]
        subprocess.run(command, check=True, capture_output=True)
    with pytest.raises(CertificateUnusable, match=r"gateway\.tls_certificate .* gateway\.tls_key"):
        Certificate(certificate, key)


def test_unusable_certificate_ends_the_process(tmp_path: Path) -> None:
    """The gateway does not start without TLS where TLS was asked for; it says which files are wrong."""
    settings = 'tls_certificate = "gateway.pem"\ntls_key = "gateway.key"'
    path, _, _ = write_configuration(tmp_path, "http://127.0.0.1:9", gateway=settings)
    ended = run_to_its_end(path)
    assert ended.returncode == 1
    assert str(tmp_path / "gateway.pem") in ended.stderr
