"""The adversarial teacher does what its scripts say and keeps an exact ledger."""

import http.client
import socket
from collections.abc import Iterator

import pytest

from tests.evil_peer import (
    EndedBy,
    EvilPeer,
    Script,
    answer,
    answer_twice,
    evil_peer,
    interim_first,
    limited,
    resets,
    sliced,
    stalled,
    trailers,
)
from tests.gateway.running import call, wait_until

REQUEST = b"POST /a?b HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}"


@pytest.fixture
def peer() -> Iterator[EvilPeer]:
    with evil_peer() as peer:
        yield peer


def received_from(peer: EvilPeer, content: bytes = REQUEST, seconds: float = 5.0) -> bytes:
    """Until the peer closes or is silent for so long."""
    with socket.create_connection(("127.0.0.1", peer.port), timeout=seconds) as connection:
        connection.sendall(content)
        received = b""
        try:
            while chunk := connection.recv(65536):
                received += chunk
        except TimeoutError:
            pass
        return received


@pytest.mark.parametrize(
    "script",
    [answer(b"hello"), answer(b"hello", chunked=True), sliced(answer(b"hello")), trailers(b"hello")],
    ids=["whole", "chunked", "sliced", "trailers"],
)
def test_valid_scripts(peer: EvilPeer, script: Script) -> None:
    """What is slow or unusual but valid is read by a standard client."""
    peer.always = script
    assert call(peer.port, "POST", "/", b"{}").body == b"hello"


def test_interim_response(peer: EvilPeer) -> None:
    """103 stands before the answer."""
    peer.always = interim_first(answer(b"hello"), count=2)
    assert [line[:12] for line in received_from(peer, seconds=0.3).split(b"\r\n") if b"HTTP/" in line] == [
        b"HTTP/1.1 103",
        b"HTTP/1.1 103",
        b"HTTP/1.1 200",
    ]


def test_scripts_by_order_and_by_target(peer: EvilPeer) -> None:
    """Next ones first, then those of the target, then the one for everything."""
    peer.always, peer.at["/two"] = answer(b"rest"), answer(b"two")
    peer.then(answer(b"first"))
    assert [call(peer.port, "GET", target).body for target in ("/two", "/two?x", "/")] == [
        b"first",
        b"two",
        b"rest",
    ]


def test_ledger(peer: EvilPeer) -> None:
    """Requests, bytes, connections and who ended them."""
    peer.then(answer_twice(b"a", b"b"))
    assert received_from(peer, seconds=0.3).count(b"HTTP/1.1 200") == 2
    wait_until(lambda: not peer.open_connections)
    (connection,) = peer.connections
    (request,) = peer.requests
    assert (request.method, request.target, request.body, request.raw) == ("POST", "/a?b", b"{}", REQUEST)
    assert connection.received == len(REQUEST)
    assert connection.ended_by is EndedBy.PEER
    assert not peer.violations


def test_cut_and_reset(peer: EvilPeer) -> None:
    """A limit on the bytes ends the connection there; a reset is one."""
    peer.then(limited(answer(b"x" * 100), 60))
    assert len(received_from(peer)) == 60
    peer.then(resets())
    with pytest.raises(ConnectionResetError):
        received_from(peer)
    assert peer.connections[-1].ended_by is EndedBy.SCRIPT


def test_stall_until_the_caller_leaves(peer: EvilPeer) -> None:
    """Half a response, then nothing."""
    peer.then(stalled(answer(b"x" * 100), 50))
    assert len(received_from(peer, seconds=0.3)) == 50
    wait_until(lambda: not peer.open_connections)


def test_refusing_and_listening_again(peer: EvilPeer) -> None:
    """The port refuses connections and takes them again."""
    peer.refuse()
    with pytest.raises(ConnectionRefusedError):
        call(peer.port, "GET", "/")
    peer.listen()
    assert call(peer.port, "GET", "/").status == 200


def test_dropped_connections(peer: EvilPeer) -> None:
    """Idle connections end on command."""
    connection = http.client.HTTPConnection("127.0.0.1", peer.port, timeout=5)
    connection.request("GET", "/")
    connection.getresponse().read()
    peer.drop_connections()
    wait_until(lambda: not peer.open_connections)
    connection.close()


@pytest.mark.parametrize(
    "content",
    [
        b"GET /a b HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : h\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nX: a\rb\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ],
)
def test_violations(peer: EvilPeer, content: bytes) -> None:
    """Received bytes that are not valid HTTP are noted."""
    received_from(peer, content, seconds=0.3)
    assert peer.violations
