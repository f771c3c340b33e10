"""https towards the teacher: verified, host name included, with certificates of the operator's choice."""

import asyncio
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.upstream import Pool, UpstreamOutcome
from gateway.upstream.unusable import TlsUnusable
from ledger.configuration import TeacherSection
from tests.evil_peer import EvilPeer, answer, evil_peer, limited
from tests.gateway.running import gateway, start_gateway
from tests.gateway.upstreams import ask, pool_for, run

GOOD = (200, b"ok")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ca.pem, and certificates of that authority for localhost and for elsewhere.example."""
    folder = tmp_path_factory.mktemp("certificates")
    openssl(
        folder, "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=authority -keyout ca.key -out ca.pem"
    )
    for name in ("localhost", "elsewhere.example"):
        openssl(folder, f"req -newkey rsa:2048 -nodes -subj /CN={name} -keyout {name}.key -out {name}.csr")
        (folder / "names").write_text(f"subjectAltName=DNS:{name}")
        signing = f"-CA ca.pem -CAkey ca.key -CAcreateserial -extfile names -out {name}.crt"
        openssl(folder, f"x509 -req -days 2 -in {name}.csr {signing}")
        joined = (folder / f"{name}.crt").read_text() + (folder / f"{name}.key").read_text()
        (folder / f"{name}.pem").write_text(joined)
    return folder


def openssl(folder: Path, arguments: str) -> None:
    subprocess.run(["openssl", *arguments.split()], cwd=folder, check=True, capture_output=True)


def serving_as(certificates: Path, name: str) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificates / f"{name}.pem")
    return context


@pytest.fixture
def peer(certificates: Path) -> Iterator[EvilPeer]:
    with evil_peer(tls=serving_as(certificates, "localhost")) as peer:
        yield peer


def test_trusted_teacher(peer: EvilPeer, certificates: Path) -> None:
    """With the authority's certificate in ca_file; connections are used again, large bodies arrive."""
    peer.then(answer(bytes(3_000_000)))

    async def main() -> None:
        async with pool_for(peer, ca_file=certificates / "ca.pem") as pool:
            assert await ask(pool, "GET") == (200, bytes(3_000_000))
            assert [await ask(pool) for _ in range(10)] == [GOOD] * 10
            assert await ask(pool, body=bytes(3_000_000)) == GOOD
            assert len(peer.connections) == 1

    run(main)


def test_unknown_authority(peer: EvilPeer, caplog: pytest.LogCaptureFixture) -> None:
    """The system does not know it: no request leaves, and the log says what is wrong with the certificate."""

    async def main() -> None:
        async with pool_for(peer, connect_seconds=10) as pool:
            assert await ask(pool) is UpstreamOutcome.CERTIFICATE

    run(main)
    assert not peer.requests
    assert "its certificate: unable to get local issuer certificate" in caplog.text


def test_certificate_of_another_host(certificates: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Its authority is trusted, its name is not the url's."""

    async def main() -> None:
        with evil_peer(tls=serving_as(certificates, "elsewhere.example")) as peer:
            settings = {"ca_file": certificates / "ca.pem", "connect_seconds": 10}
            async with pool_for(peer, **settings) as pool:
                assert await ask(pool) is UpstreamOutcome.CERTIFICATE
            assert not peer.requests

    run(main)
    assert "Hostname mismatch" in caplog.text


def test_teacher_that_asks_for_a_certificate(certificates: Path) -> None:
    """Ours is shown if there is one; without it the teacher ends the connection."""
    asking = serving_as(certificates, "localhost")
    asking.verify_mode = ssl.CERT_REQUIRED
    asking.load_verify_locations(certificates / "ca.pem")
    asking.maximum_version = ssl.TLSVersion.TLSv1_2  # in 1.3 the refusal comes after the handshake
    ours = certificates / "elsewhere.example.pem"

    async def main() -> None:
        with evil_peer(tls=asking) as peer:
            settings = {"ca_file": certificates / "ca.pem", "connect_seconds": 10}
            async with pool_for(peer, client_certificate_file=ours, **settings) as pool:
                assert await ask(pool) == GOOD
            async with pool_for(peer, **settings) as pool:
                assert await ask(pool) in (UpstreamOutcome.CERTIFICATE, UpstreamOutcome.UNREACHABLE)

    run(main)


def test_body_that_breaks_off(peer: EvilPeer, certificates: Path) -> None:
    """Over TLS, too, it is never a whole one."""
    peer.then(limited(answer(b"x" * 100), 100))

    async def main() -> None:
        async with pool_for(peer, ca_file=certificates / "ca.pem") as pool:
            assert await ask(pool) not in (GOOD, (200, b"x" * 61))
            assert await ask(pool) == GOOD

    run(main)


def test_silent_handshake_ends_in_time(certificates: Path) -> None:
    """A teacher that takes the connection and says nothing costs connect_seconds, and no slot."""

    async def main() -> None:
        writers: list[asyncio.StreamWriter] = []
        listener = await asyncio.start_server(lambda _, writer: writers.append(writer), "127.0.0.1", 0)
        port = listener.sockets[0].getsockname()[1]
        pool = Pool(TeacherSection(url=f"https://localhost:{port}", version="1", connect_seconds=0.2))
        assert await ask(pool) is UpstreamOutcome.CONNECT_TIMEOUT
        asking = asyncio.create_task(ask(pool))
        await asyncio.wait([asking], timeout=0.05)
        asking.cancel()
        await asyncio.wait([asking])
        assert pool.slots == 0
        for writer in writers:
            writer.close()
            await writer.wait_closed()
        listener.close()
        await listener.wait_closed()

    run(main)


def test_gateway_over_tls(peer: EvilPeer, certificates: Path, tmp_path: Path) -> None:
    """ca_file is relative to the configuration."""
    (tmp_path / "authority.pem").write_bytes((certificates / "ca.pem").read_bytes())
    with gateway(tmp_path, peer.url, teacher_settings='ca_file = "authority.pem"') as process:
        assert process.predict("hello").body == b"ok"


def test_missing_file_is_said_at_start(tmp_path: Path) -> None:
    """With its setting, its path and what it has to be."""
    with pytest.raises(
        AssertionError, match=r"task\.teacher\.ca_file = '.*absent\.pem' cannot be used: No such file"
    ):
        start_gateway(tmp_path, "https://localhost:1", teacher_settings='ca_file = "absent.pem"')


def test_file_that_is_no_certificate(tmp_path: Path) -> None:
    """It names the way out."""
    (tmp_path / "no.pem").write_text("no certificate")

    async def main() -> None:
        with pytest.raises(TlsUnusable, match="PEM"):
            Pool(TeacherSection(url="https://a", version="1", ca_file=tmp_path / "no.pem"))

    run(main)
