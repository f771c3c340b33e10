"""A teacher that is slow, gone, cut, stalled, malformed or explosive, under several callers at once."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.evil_peer import (
    EvilPeer,
    Script,
    Send,
    answer,
    evil_peer,
    gzip_bomb,
    late,
    limited,
    malformed,
    resets,
    sliced,
    slow_close,
    stalled,
)
from tests.gateway.running import Running, gateway, wait_until
from tests.reliability.callers import KEPT_BYTES, Seen, closed_load
from tests.reliability.promises import promises, resident_bytes
from tests.reliability.rows import Row
from tests.reliability.scale import seed_of_run, sized

BODY = b'[{"label":"billing","score":0.9},{"label":"shipping","score":0.05},{"label":"other","score":0.05}]'
LONG = BODY + b" " * 40_000
CALLERS = 8
HEAD = len(b"HTTP/1.1 200 Status\r\nContent-Length: 40097\r\n\r\n")


class Asked:
    """The peer as the ledger check asks it."""

    def __init__(self, peer: EvilPeer) -> None:
        self._peer = peer

    def asked(self) -> Counter[str]:
        return Counter(
            request.values(b"x-request")[0].decode()
            for request in list(self._peer.requests)
            if request.values(b"x-request")
        )


@pytest.fixture(scope="module")
def peer() -> Iterator[EvilPeer]:
    with evil_peer(seed_of_run()) as peer:
        yield peer


@pytest.fixture(scope="module")
def running(peer: EvilPeer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A gateway that gives its teacher one second."""
    folder = tmp_path_factory.mktemp("faults")
    with gateway(folder, peer.url, first_byte_seconds=1) as running:
        yield running


@contextmanager
def asking(
    row: Row, running: Running, peer: EvilPeer, requests: int, expected: bytes
) -> Iterator[list[Seen]]:
    """So many requests under what the peer was told; then it is well again, and the next hundred are good."""
    row.size = f"{requests} requests, {CALLERS} callers"
    seen: list[Seen] = []
    with promises(row, running, Asked(peer)) as ledger:
        ledger.expected = lambda request: expected
        with closed_load(running.port, CALLERS) as load:
            wait_until(lambda: len(load.seen) >= requests, 120)
        seen += load.seen
        yield seen
        peer.always = answer(expected)
        wait_until(lambda: running.predict("is it well").status == 200)
        with closed_load(running.port, CALLERS) as after:
            wait_until(lambda: len(after.seen) >= 100)
        assert all(one.complete and one.status == 200 for one in after.seen)
        ledger.seen = [*seen, *after.seen]
        peer.drop_connections()  # pooled ones are not what is looked for
    peer.forget()


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(late(answer(BODY), 0.02, 0.2), marks=pytest.mark.row("F1"), id="latency and jitter"),
        pytest.param(sliced(answer(BODY)), marks=pytest.mark.row("F7"), id="one byte a write"),
        pytest.param(
            sliced(answer(BODY, chunked=True)), marks=pytest.mark.row("F7"), id="one byte a write, chunked"
        ),
        pytest.param(
            slow_close(answer(BODY, keep_alive=False), 0.1), marks=pytest.mark.row("F8"), id="closes late"
        ),
    ],
)
def test_slow_teacher(row: Row, running: Running, peer: EvilPeer, script: Script) -> None:
    """However slowly it comes, every answer arrives whole and is recorded as complete."""
    peer.always = script
    with asking(row, running, peer, sized(40, 600, 5000), BODY) as seen:
        assert all(one.complete and one.status == 200 for one in seen)


@pytest.mark.row("F2")
def test_refused_connections(row: Row, running: Running, peer: EvilPeer) -> None:
    """Nobody listens: 502 from the gateway at once, and the first answer after the teacher is back."""
    peer.refuse()
    peer.drop_connections()
    with asking(row, running, peer, sized(40, 600, 5000), BODY) as seen:
        peer.listen()
        first, *rest = seen  # a pooled connection may have been dropped under the first of each caller
        assert {one.status for one in rest} <= {502, 503}
        assert {one.served_by for one in rest} == {"gateway"}
        del first


@pytest.mark.parametrize(
    ("script", "answered"),
    [
        pytest.param(resets(), {502, 503}, marks=pytest.mark.row("F3"), id="reset before the head"),
        pytest.param(
            limited(answer(LONG), 30), {502, 503}, marks=pytest.mark.row("F3"), id="cut in the head"
        ),
        pytest.param(
            limited(answer(LONG), HEAD, reset=True),
            {502, 503},
            marks=pytest.mark.row("F4"),
            id="reset after it",
        ),
        pytest.param(
            limited(answer(LONG), 20_000, reset=True),
            {502, 503},
            marks=pytest.mark.row("F5"),
            id="reset in the body",
        ),
        pytest.param(
            stalled(answer(LONG), 20_000), {504}, marks=pytest.mark.row("F6"), id="stalled in the body"
        ),
        pytest.param(stalled(answer(LONG), 0), {504}, marks=pytest.mark.row("F6"), id="never answers"),
        pytest.param(
            limited(answer(LONG), 20_000), {502, 503}, marks=pytest.mark.row("F8"), id="closed in the body"
        ),
        pytest.param(
            limited(answer(LONG, chunked=True), 20_000),
            {502, 503},
            marks=pytest.mark.row("F8"),
            id="closed in a chunk",
        ),
        pytest.param(
            limited(answer(LONG, chunked=True), len(LONG) + 60),
            {502, 503},
            marks=pytest.mark.row("F8"),
            id="closed before the last chunk",
        ),
    ],
)
def test_cut_answers(row: Row, running: Running, peer: EvilPeer, script: Script, answered: set[int]) -> None:
    """An answer that breaks off is an error of the gateway or is cut for the caller as well, never a whole one;
    nothing is asked twice."""
    peer.always = script
    with asking(row, running, peer, sized(24, 200, 2000), LONG) as seen:
        assert not [one for one in seen if one.complete and one.status not in answered | {503}]
        assert not [one for one in seen if one.complete and one.served_by == "teacher"]


OK = b"HTTP/1.1 200 OK\r\n"
MALFORMED = {
    "length and chunked": OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    "length list": OK + b"Content-Length: 5, 6\r\n\r\nhello",
    "negative length": OK + b"Content-Length: -5\r\n\r\nhello",
    "length with sign": OK + b"Content-Length: +5\r\n\r\nhello",
    "length in words": OK + b"Content-Length: five\r\n\r\nhello",
    "huge length": OK + b"Content-Length: 99999999999999999999999\r\n\r\nhello",
    "space before colon": OK + b"Content-Length : 5\r\n\r\nhello",
    "nul in a value": OK + b"X-Bad: a\x00b\r\nContent-Length: 0\r\n\r\n",
    "bare return": OK + b"X-Bad: a\rb\r\nContent-Length: 0\r\n\r\n",
    "no colon": OK + b"nonsense\r\nContent-Length: 0\r\n\r\n",
    "empty name": OK + b": nothing\r\nContent-Length: 0\r\n\r\n",
    "unknown coding": OK + b"Transfer-Encoding: rot13\r\n\r\nhello",
    "bad chunk size": OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n",
    "switching protocols": b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    "status of two digits": b"HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n",
    "status 999": b"HTTP/1.1 999 What\r\nContent-Length: 0\r\n\r\n",
    "other protocol": b"SSH-2.0-OpenSSH_9.2\r\n",
    "http 0.9": b"hello\n",
    "huge field": OK + b"X-Huge: " + b"v" * 400_000 + b"\r\n\r\n",
    "nothing at all": b"",
    "only line ends": b"\r\n" * 10,
}


@pytest.mark.row("F9")
def test_malformed_answers(row: Row, running: Running, peer: EvilPeer) -> None:
    """What is not HTTP never reaches a caller as an answer: 502, or cut where the head was sound."""
    rounds = sized(1, 20, 100)
    row.size = f"{len(MALFORMED)} cases, {rounds} times each"
    with promises(row, running, Asked(peer)) as ledger:
        for name, content in [*MALFORMED.items()] * rounds:
            peer.always = malformed(content)
            with closed_load(running.port, 1) as load:
                wait_until(lambda load=load: len(load.seen) >= 1)
            for one in load.seen:
                assert one.status == 502 or (one.status == 200 and not one.complete), (name, one)
            ledger.seen += load.seen
        peer.always = answer(BODY)
        ledger.hidden = 1
        assert running.predict("after all of them").body == BODY
        peer.drop_connections()
    peer.forget()


@pytest.mark.row("F10")
def test_compressed_bomb(row: Row, running: Running, peer: EvilPeer) -> None:
    """A body that would decompress to a thousand times its size passes as it came, and memory does not grow."""
    size, requests = 64 * 2**20, sized(8, 100, 300)
    row.size = f"{requests} responses of {size // 2**20} MiB when decompressed"
    bomb = gzip_bomb(size)
    assert isinstance(bomb[0], Send)
    body = bomb[0].content.partition(b"\r\n\r\n")[2]
    peer.always = bomb
    with promises(row, running, Asked(peer)) as ledger:
        ledger.expected = lambda request: body[:KEPT_BYTES]
        before = resident_bytes(running.process.pid)
        with closed_load(running.port, 4) as load:
            wait_until(lambda: len(load.seen) >= requests, 120)
        running.settled()
        grown = (resident_bytes(running.process.pid) - before) // 2**20
        assert {one.length for one in load.seen} == {len(body)}
        ledger.seen = load.seen
        peer.drop_connections()
    row.note(rss_growth_mib=grown)
    assert grown < 64
    peer.forget()
