"""Requests that were good until somebody changed them: each is answered with a final status or a close, none hangs,
none is a 500, and whatever reaches the teacher is read by a strict parser that is not ours."""

import random
import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from tests.gateway.raw_cases import CASES
from tests.gateway.running import gateway
from tests.gateway.strict import RawCaller, StrictTeacher, strict_teacher
from tests.reliability.rows import Row
from tests.reliability.scale import sized

GOOD = [case.sent for case in CASES if case.seen and len(case.sent) < 400]
LAST = b"\r\n\r\nGET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
DEADLINES = """
first_byte_seconds = 0.5
head_seconds = 0.5
body_grace_seconds = 0.5
keep_alive_seconds = 0.5
"""
SPICES = [
    *(b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"\x00", b" ", b"\t", b":", b",", b";", b"\x0b", b"\xff", b"\x7f"),
    *(b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n", b"Host: b\r\n", b"Connection: close\r\n"),
    *(
        b"0\r\n\r\n",
        b"GET / HTTP/1.1\r\n",
        b"HTTP/1.0",
        b"chunked",
        b"Expect: 100-continue\r\n",
        b"%",
        b"?",
        b"#",
    ),
]


def mutated(content: bytes, draw: random.Random) -> bytes:
    """One to three changes: a byte flipped, a piece removed, doubled or moved, a spice added, two requests spliced."""
    for _ in range(draw.randint(1, 3)):
        at = draw.randrange(len(content) + 1)
        end = min(len(content), at + draw.choice([1, 1, 2, 5, 20]))
        piece = content[at:end]
        match draw.randrange(6):
            case 0:
                content = content[:at] + bytes([draw.randrange(256)]) + content[at + 1 :]
            case 1:
                content = content[:at] + content[end:]
            case 2:
                content = content[:end] + piece + content[end:]
            case 3:
                content = content[:at] + draw.choice(SPICES) + content[at:]
            case 4:
                rest = content[:at] + content[end:]
                to = draw.randrange(len(rest) + 1)
                content = rest[:to] + piece + rest[to:]
            case _:
                content = content[:at] + draw.choice(GOOD)[draw.randrange(20) :]
    return content


def statuses(port: int, content: bytes) -> list[bytes]:
    """Of every response until the gateway closes the connection. Raises TimeoutError if it does not."""
    received = b""
    with RawCaller(port) as caller, suppress(ConnectionError):
        caller.send(content + LAST)
        while piece := caller.socket.recv(65536):
            received += piece
    return re.findall(rb"HTTP/1\.1 (\d\d\d) ", received)


@pytest.mark.row("B2")
def test_mutated_requests(row: Row, tmp_path: Path) -> None:
    """Afterwards nothing is in flight, the accounts agree, and the gateway answers as ever."""
    count = sized(500, 6_000, 20_000)
    row.size = f"{count:,} mutated requests"
    strict = StrictTeacher()
    requests = [mutated(row.rng.choice(GOOD), row.rng) for _ in range(count)]
    with strict_teacher(strict) as url, gateway(tmp_path, url, gateway=DEADLINES) as process:
        with ThreadPoolExecutor(16) as pool:
            found = list(pool.map(lambda content: statuses(process.port, content), requests))
        wrong = [sent for sent, said in zip(requests, found, strict=True) if {b"500", b"502"} & set(said)]
        assert wrong == []
        assert strict.violations == []
        assert process.predict("billing").status == 200
        process.settled()
        assert process.metrics()["stillgate_inflight_requests"] == 0
    said = Counter(status for each in found for status in each)
    row.note(responses=said.total(), passed=said[b"200"], reached_the_teacher=len(strict.seen))
    assert min(said[b"200"], said[b"400"]) > count / 10  # else the mutations test nothing
