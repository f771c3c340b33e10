"""Durability as declared: what a killed gateway may lose in each mode, and what strict never sends."""

import http.client
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from ledger.exchange_file import exchange_path
from tests.gateway.running import Running, assert_identity, gateway, start_gateway, wait_until

SECONDS_UNDER_LOAD = 1.0


class Asking(threading.Thread):
    """A caller that remembers which exchanges it got a whole response for."""

    def __init__(self, process: Running) -> None:
        super().__init__()
        self.process, self.acknowledged = process, list[int]()

    def run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.process.port, timeout=20)
        try:
            while True:
                connection.request("POST", "/predict", b'{"inputs":"billing"}')
                response = connection.getresponse()
                response.read()
                if response.status == 200:
                    name = response.headers["x-stillgate-exchange"]
                    self.acknowledged.append(int(name.rpartition("-")[2]))
        except (OSError, http.client.HTTPException):
            connection.close()


@pytest.fixture
def locked(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """A second connection to the exchange file, which a test makes hold the write lock."""
    with closing(sqlite3.connect(exchange_path(tmp_path, "g0"), isolation_level=None)) as connection:
        yield connection


def killed_under_load(directory: Path, teacher_url: str, durability: str) -> tuple[list[int], Running]:
    """What four callers have got when the process was killed, and a process started after it."""
    setting = f'durability = "{durability}"\nballast_bytes = 0'
    process = start_gateway(directory, teacher_url, gateway=setting)
    callers = [Asking(process) for _ in range(4)]
    for caller in callers:
        caller.start()
    wait_until(lambda: all(len(caller.acknowledged) > 30 for caller in callers))
    process.kill()
    for caller in callers:
        caller.join()
    acknowledged = [sequence for caller in callers for sequence in caller.acknowledged]
    return acknowledged, start_gateway(directory, teacher_url, gateway=setting)


@pytest.mark.parametrize("durability", ["strict", "durable", "best_effort"])
def test_killed(teacher_url: str, tmp_path: Path, durability: str) -> None:
    """strict: whatever a caller got whole is in the file. Otherwise what is missing is dropped{crash}."""
    acknowledged, after = killed_under_load(tmp_path, teacher_url, durability)
    try:
        accounts = after.accounts()
        assert_identity(accounts)
        missing = set(acknowledged) - {exchange.sequence for exchange in after.exchanges()}
        assert len(missing) <= accounts.get("crash", 0)
        if durability == "strict":
            assert missing == set()
    finally:
        after.kill()


def test_strict_refuses_while_the_file_is_locked(teacher_url: str, tmp_path: Path) -> None:
    """No reply leaves that is not recorded: 503 while another process holds the file, 200 after it."""
    with gateway(tmp_path, teacher_url, gateway='durability = "strict"') as process:
        assert process.predict("billing").status == 200
        with closing(sqlite3.connect(exchange_path(tmp_path, "g0"), isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            statuses = {process.predict("billing").status for _ in range(2)}
            assert statuses == {503}
            other.execute("ROLLBACK")
        wait_until(lambda: process.predict("billing").status == 200)
        accounts = process.settled()
        assert accounts["recorded"] == accounts["requests"]


def test_strict_passes_a_stream(teacher_url: str, tmp_path: Path) -> None:
    """A response in several chunks arrives whole, and is in the file by then."""
    with gateway(tmp_path, teacher_url, gateway='durability = "strict"') as process:
        reply = process.ask("POST", "/predict?pieces=5&pause=0.01&chunked=1", b'{"inputs":"billing"}')
        assert len(reply.body) > 50
        number = int((reply.header("x-stillgate-exchange") or "").rpartition("-")[2])
        assert number in {exchange.sequence for exchange in process.exchanges()}
