"""What went wrong in other gateways, as their issue threads tell it: one test each, against ours."""

import gzip
import http.client
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from ledger.exchange import Outcome
from ledger.exchange_file import exchange_path
from tests.evil_peer import (
    Close,
    EndedBy,
    EvilPeer,
    Send,
    Stall,
    Wait,
    answer,
    evil_peer,
    late,
    limited,
    resets,
    stalled,
)
from tests.gateway.running import Running, call, gateway, start_gateway, wait_until
from tests.reliability.callers import closed_load
from tests.reliability.promises import SLACK, footprint, resident_bytes

BODY = b'[{"label":"billing","score":0.9},{"label":"shipping","score":0.05},{"label":"other","score":0.05}]'
CHUNKED = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
FAILING = 'stillgate_degraded{part="store"}'


@pytest.fixture(scope="module")
def the_peer() -> Iterator[EvilPeer]:
    with evil_peer() as peer:
        yield peer


@pytest.fixture(scope="module")
def the_gateway(the_peer: EvilPeer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with gateway(tmp_path_factory.mktemp("threads"), the_peer.url, first_byte_seconds=2) as running:
        yield running


@pytest.fixture
def peer(the_peer: EvilPeer) -> EvilPeer:
    """Well again, with an empty ledger."""
    the_peer.drop_connections()
    the_peer.forget()
    the_peer.always = answer(BODY)
    return the_peer


@pytest.fixture
def running(the_gateway: Running, peer: EvilPeer) -> Running:
    the_gateway.settled()
    return the_gateway


@contextmanager
def locked_store(running: Running) -> Iterator[None]:
    """Another process holds the write lock of the record."""
    path = exchange_path(running.directory, "g0")
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


@contextmanager
def asking(running: Running, target: str = "/predict", fields: bytes = b"") -> Iterator[socket.socket]:
    """A raw connection that has sent one request."""
    with socket.create_connection(("127.0.0.1", running.port), timeout=10) as connection:
        head = b"POST %s HTTP/1.1\r\nHost: a\r\n%sContent-Length: 14\r\n\r\n" % (target.encode(), fields)
        connection.sendall(head + b'{"inputs":"x"}')
        yield connection


def last_outcome(running: Running) -> Outcome:
    running.settled()
    return running.exchanges()[-1].outcome


def until_received(connection: socket.socket, wanted: bytes) -> bytes:
    received = b""
    while wanted not in received:
        chunk = connection.recv(65536)
        assert chunk, received
        received += chunk
    return received


def chunk(content: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(content), content)


# --- the record is down -----------------------------------------------------------------------------


def test_record_unreachable_under_load(running: Running) -> None:
    """BerriAI/litellm#3110: with the database out of reach under load, requests failed. Here all are answered."""
    with locked_store(running), closed_load(running.port, 8) as load:
        wait_until(lambda: len(load.seen) >= 200)
    assert {seen.status for seen in load.seen} == {200}
    assert running.settled()["recorded"] == len(running.exchanges())


def test_record_outage_pulls_no_replica(running: Running) -> None:
    """BerriAI/litellm#34929, #34934: a database outage turned readiness to 503 and pulled every replica."""
    with locked_store(running):
        running.predict("x")
        wait_until(lambda: running.metrics()[FAILING] == 1)
        assert call(running.operations_port, "GET", "/readyz").status == 200


def test_record_that_is_down_at_start_recovers(peer: EvilPeer, tmp_path: Path) -> None:
    """BerriAI/litellm#38121: after a failed first connection the store was never tried again."""
    obstacle = tmp_path / "exchanges"
    obstacle.write_text("in the way")
    with gateway(tmp_path, peer.url) as running:
        assert running.predict("lost").status == 200
        obstacle.unlink()
        wait_until(lambda: running.metrics()[FAILING] == 0)
        running.predict("kept")
        assert running.settled()["recorded"] == 1


def test_record_outage_is_told(peer: EvilPeer, tmp_path: Path) -> None:
    """BerriAI/litellm#20635: a database outage could not be seen in the logs."""
    with gateway(tmp_path, peer.url) as running:
        with locked_store(running):
            running.predict("x")
            wait_until(lambda: running.metrics()[FAILING] == 1)
        running.settled()
        log = running.log.read_text()
    assert "action=store_failed" in log
    assert str(tmp_path / "exchanges") in log


def test_success_during_an_outage_counts_as_success(running: Running) -> None:
    """BerriAI/litellm#25966: requests that succeeded were reported as errors because their log failed."""
    before = running.metrics()['stillgate_outcomes_total{outcome="complete"}']
    with locked_store(running):
        running.predict("x")
        wait_until(lambda: running.metrics()[FAILING] == 1)
        after = running.metrics()['stillgate_outcomes_total{outcome="complete"}']
    assert after == before + 1


# --- the record loses -------------------------------------------------------------------------------


def test_graceful_stop_loses_nothing(peer: EvilPeer, tmp_path: Path) -> None:
    """BerriAI/litellm#38157: what was queued when the process was told to stop was dropped, every time."""
    running = start_gateway(tmp_path, peer.url)
    for _ in range(30):
        running.predict("x")
    assert running.stop() == 0
    assert len(running.exchanges()) == 30


def test_failed_write_keeps_its_group(running: Running) -> None:
    """BerriAI/litellm#34805, #34820: rows left the queue before they were written, and were lost with the write."""
    before = running.settled()
    with locked_store(running):
        for _ in range(20):
            running.predict("x")
        wait_until(lambda: running.metrics()[FAILING] == 1)
    after = running.settled()
    assert after["recorded"] - before["recorded"] == 20
    assert {name: after[name] for name in after if name not in ("requests", "recorded")} == {
        name: before[name] for name in before if name not in ("requests", "recorded")
    }


def test_request_that_ends_while_draining_is_recorded(peer: EvilPeer, tmp_path: Path) -> None:
    """BerriAI/litellm#40949: what was logged after the final drain had begun was lost."""
    peer.always = late(answer(BODY), 1.0)
    running = start_gateway(tmp_path, peer.url)
    with asking(running) as connection:
        wait_until(lambda: bool(peer.requests))
        running.process.terminate()
        assert BODY in until_received(connection, BODY)
    assert running.process.wait(20) == 0
    assert [exchange.outcome for exchange in running.exchanges()] == [Outcome.COMPLETE]


# --- the callers' path is blocked -------------------------------------------------------------------


def test_slow_stream_holds_up_nobody(running: Running, peer: EvilPeer) -> None:
    """BerriAI/litellm#20268: waiting for the next chunk of one stream froze the loop for everybody."""
    peer.at["/slow"] = (Send(CHUNKED + chunk(b"data: 1\n\n")), Stall())
    with asking(running, "/slow") as first, asking(running, "/slow") as second:
        for connection in (first, second):
            until_received(connection, b"data: 1\n\n")
        assert running.predict("quick").status == 200
        assert call(running.operations_port, "GET", "/livez").status == 200


def test_blocked_write_does_not_freeze_liveness(running: Running) -> None:
    """BerriAI/litellm#33952: one blocking call in the loop made the liveness probe fail."""
    with locked_store(running):
        running.predict("x")
        wait_until(lambda: running.metrics()[FAILING] == 1)
        assert [call(running.operations_port, "GET", "/livez").status for _ in range(20)] == [200] * 20


def test_hanging_log_sink_holds_up_nobody(running: Running) -> None:
    """BerriAI/litellm#7930: a logger that hung for a minute hung the requests at 100 a second."""
    with locked_store(running), closed_load(running.port, 4) as load:
        wait_until(lambda: len(load.seen) >= 300, 15)
        accounts = running.accounts()
        assert accounts["pending"] > 100, "the sink did not hang"
    assert max(seen.seconds for seen in load.seen) < 10


def test_no_thread_for_each_request(running: Running) -> None:
    """BerriAI/litellm#7680: every callback got a thread of its own."""
    running.predict("warm")
    before = footprint(running.process.pid).threads
    with closed_load(running.port, 16) as load:
        wait_until(lambda: len(load.seen) >= 300)
        during = footprint(running.process.pid).threads
    assert during - before <= 8


# --- memory -----------------------------------------------------------------------------------------


def test_no_thread_for_each_chunk(running: Running, peer: EvilPeer) -> None:
    """BerriAI/litellm#6404: every chunk of a stream was handled on a thread of its own."""
    many = b"".join(chunk(b"data: %d\n\n" % number) for number in range(500))
    peer.at["/many"] = (Send(CHUNKED + many, slice_bytes=64), Stall())
    with asking(running, "/many") as connection:
        until_received(connection, b"data: 499\n\n")
        assert footprint(running.process.pid).threads < 20


def test_many_requests_leave_nothing_behind(running: Running) -> None:
    """BerriAI/litellm#12685, #2462: memory grew for weeks with what was kept of every request."""
    with closed_load(running.port, 8) as load:
        wait_until(lambda: len(load.seen) >= 500, 60)
        before = resident_bytes(running.process.pid)
        wait_until(lambda: len(load.seen) >= 1500, 60)
    running.settled()
    assert running.metrics()["stillgate_record_queue_bytes"] == 0
    assert resident_bytes(running.process.pid) - before < 24 * 2**20


def test_passing_through_reuses_connections(running: Running, peer: EvilPeer) -> None:
    """BerriAI/litellm#13805: the client of a pass-through path was made anew for each request, until out of
    memory."""
    opened = len(peer.connections)
    for _ in range(50):
        assert running.ask("GET", "/some/other/path").status == 200
    assert len(peer.connections) - opened <= 2


def test_body_in_many_fragments(running: Running, peer: EvilPeer) -> None:
    """Kludex/uvicorn#2845: a body in many fragments cost quadratic time."""
    content = b'{"inputs":"%s"}' % (b"word " * 20_000)
    with socket.create_connection(("127.0.0.1", running.port), timeout=20) as connection:
        connection.sendall(b"POST /predict HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        pieces = b"".join(chunk(content[start : start + 2]) for start in range(0, len(content), 2))
        connection.sendall(pieces + b"0\r\n\r\n")
        until_received(connection, BODY)
    assert peer.requests[-1].body == content


# --- callers that leave -----------------------------------------------------------------------------


def closes_upstream(peer: EvilPeer) -> None:
    """The connection of the last request is closed from the gateway's side, within a second or two."""
    connection = peer.connections[peer.requests[-1].connection]
    wait_until(lambda: connection.closed_at is not None, 5)
    assert connection.ended_by is EndedBy.PEER


def test_leaving_a_stream_cancels_it(running: Running, peer: EvilPeer) -> None:
    """BerriAI/litellm#13774, #14295: the teacher went on generating for a caller who had left the stream."""
    peer.at["/stream"] = (Send(CHUNKED + chunk(b"data: 1\n\n")), Stall())
    with asking(running, "/stream") as connection:
        until_received(connection, b"data: 1\n\n")
    closes_upstream(peer)
    assert last_outcome(running) is Outcome.CLIENT_DISCONNECT


def test_leaving_before_the_first_byte_cancels(running: Running, peer: EvilPeer) -> None:
    """BerriAI/litellm#31499: leaving before the first token was not noticed."""
    peer.at["/wait"] = (Stall(),)
    with asking(running, "/wait"):
        wait_until(lambda: bool(peer.requests))
    closes_upstream(peer)
    assert last_outcome(running) is Outcome.CLIENT_DISCONNECT


def test_leaving_a_plain_response_cancels(running: Running, peer: EvilPeer) -> None:
    """BerriAI/litellm#37140: for responses that are no streams, leaving was not passed on."""
    peer.at["/plain"] = stalled(answer(bytes(100_000)), 50_000)
    with asking(running, "/plain") as connection:
        until_received(connection, bytes(1000))
    closes_upstream(peer)


def test_no_middleware_hides_that_the_caller_left() -> None:
    """1rgs/claude-code-proxy#114: Starlette's BaseHTTPMiddleware hid http.disconnect. The path has no Starlette."""
    program = "import sys, gateway.process; print('starlette' in sys.modules or 'fastapi' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "False"


def test_leaving_does_not_cancel_the_record(running: Running, peer: EvilPeer) -> None:
    """encode/starlette#1438: what had to be done after the response was cancelled with the connection."""
    before = running.settled()["recorded"]
    peer.at["/wait"] = (Stall(),)
    for _ in range(10):
        with asking(running, "/wait"):
            pass
    wait_until(lambda: running.settled()["recorded"] == before + 10)


def test_leaving_again_and_again_leaks_no_connection(running: Running, peer: EvilPeer) -> None:
    """encode/httpcore#1093, #1094: each cancelled request took a place in the pool for ever."""
    running.predict("warm")
    before = footprint(running.process.pid)
    peer.at["/wait"] = (Stall(),)
    for _ in range(100):
        with asking(running, "/wait"):
            pass
    wait_until(lambda: running.metrics()["stillgate_inflight_requests"] == 0)
    assert [running.predict("after").status for _ in range(50)] == [200] * 50
    wait_until(lambda: footprint(running.process.pid).descriptors <= before.descriptors + SLACK)


# --- streams that break off -------------------------------------------------------------------------


def test_cut_stream_is_not_a_finished_one(running: Running, peer: EvilPeer) -> None:
    """BerriAI/litellm#42085, #42140: a stream that had been cut was reported with finish_reason "stop"."""
    peer.always = (Send(CHUNKED + chunk(b'data: {"text":"half"}\n\n')), Wait(0.2), Close())
    with asking(running) as connection:
        received = until_received(connection, b"half")
        while more := connection.recv(65536):
            received += more
    assert received.endswith((chunk(b'data: {"text":"half"}\n\n'), b'"half"}\n\n'))
    assert last_outcome(running) is Outcome.UPSTREAM_TRUNCATED


def test_no_event_is_invented_after_a_cut(running: Running, peer: EvilPeer) -> None:
    """BerriAI/litellm#32159 asks for an error event of the proxy's own. Here no byte is added in the middle of
    an event: the connection ends without the last chunk."""
    peer.always = limited((Send(CHUNKED + chunk(b"data: one\n\n") + chunk(b"data: tw")),), 10_000)
    with asking(running) as connection:
        received = b""
        while more := connection.recv(65536):
            received += more
    assert b"0\r\n\r\n" not in received
    assert b"error" not in received


def test_stall_is_not_a_clean_end(running: Running, peer: EvilPeer) -> None:
    """BerriAI/litellm#39898: a stream that stalled ended as a clean 200."""
    peer.always = stalled(answer(bytes(10_000)), 5_000)
    with pytest.raises(http.client.IncompleteRead):
        running.predict("x")
    assert last_outcome(running) is Outcome.UPSTREAM_TRUNCATED


def test_comments_of_a_stream_pass_at_once(running: Running, peer: EvilPeer) -> None:
    """BerriAI/litellm#32763, #14953 ask for keep-alive comments of the proxy's own in silent streams. Ours adds no
    byte; the teacher's comments pass at once, although nothing follows."""
    peer.always = (Send(CHUNKED + chunk(b": ping\n\n")), Stall())
    with asking(running) as connection:
        assert b": ping\n\n" in until_received(connection, b": ping\n\n")


# --- headers and codings ----------------------------------------------------------------------------


def test_credentials_for_us_stay_with_us(running: Running, peer: EvilPeer) -> None:
    """BerriAI/litellm#32202, ranxianglei/billion-context#80: the proxy's own key went on to the teacher."""
    running.ask(
        "POST", "/predict", b'{"inputs":"x"}', Proxy_Authorization="Bearer ours", Authorization="theirs"
    )
    sent = peer.requests[-1]
    assert sent.values(b"proxy-authorization") == []
    assert sent.values(b"authorization") == [b"theirs"]
    assert b"ours" not in sent.raw


def test_length_fits_the_coded_body(running: Running, peer: EvilPeer) -> None:
    """BerriAI/litellm#25624: after decompression the old Content-Length stood beside the longer body."""
    packed = gzip.compress(BODY, mtime=0)
    peer.always = answer(packed, headers=((b"Content-Encoding", b"gzip"),))
    reply = running.predict("x")
    assert (reply.header("content-length"), reply.body) == (str(len(packed)), packed)


def test_accepted_codings_are_the_callers(running: Running, peer: EvilPeer) -> None:
    """BerriAI/litellm#37058: a coding was asked for that the proxy could not read. Here the caller's wish passes
    as it is, and so does the body that follows from it."""
    peer.always = answer(b"\x8b\x00\x80\x03", headers=((b"Content-Encoding", b"br"),))
    reply = running.ask("POST", "/predict", b'{"inputs":"x"}', Accept_Encoding="br")
    assert peer.requests[-1].values(b"accept-encoding") == [b"br"]
    assert (reply.header("content-encoding"), reply.body) == ("br", b"\x8b\x00\x80\x03")


def test_coding_is_named_where_bytes_are_coded(running: Running, peer: EvilPeer) -> None:
    """gadievron/raptor#547: coded bytes arrived without their Content-Encoding."""
    packed = gzip.compress(BODY, mtime=0)
    peer.always = answer(packed, headers=((b"Content-Encoding", b"gzip"),), chunked=True)
    reply = running.predict("x")
    assert reply.header("content-encoding") == "gzip"
    assert gzip.decompress(reply.body) == BODY


# --- asking again -----------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["POST", "GET"])
def test_lost_connection_is_not_asked_again(running: Running, peer: EvilPeer, method: str) -> None:
    """aio-libs/aiohttp#7363, #10790: a request was repeated after its connection was lost (RFC 9110, 9.2.2)."""
    peer.always = resets()
    assert running.ask(method, "/predict", b'{"inputs":"x"}').status == 502
    assert len(peer.requests) == 1


def test_errors_of_the_teacher_are_not_multiplied(running: Running, peer: EvilPeer) -> None:
    """BerriAI/litellm#2620: retries in two layers made twelve requests of one."""
    peer.always = answer(b'{"error":"busy"}', status=500)
    reply = running.predict("x")
    assert (reply.status, reply.body) == (500, b'{"error":"busy"}')
    assert len(peer.requests) == 1


def test_waiting_advice_is_the_callers(running: Running, peer: EvilPeer) -> None:
    """elixir-vibe/llm_proxy#4: what may be repeated only the caller knows; 429 and its Retry-After pass."""
    peer.always = answer(b"slow down", status=429, headers=((b"Retry-After", b"7"),))
    reply = running.predict("x")
    assert (reply.status, reply.header("retry-after")) == (429, "7")
    assert len(peer.requests) == 1


def test_partial_answer_is_not_repeated(running: Running, peer: EvilPeer) -> None:
    """aden-hive/hive#5923, NuGuardAI/nuguard#455: a retry after partial output sent the text twice."""
    peer.always = (Send(CHUNKED + chunk(b"data: once\n\n")), Wait(0.1), Close())
    with asking(running) as connection:
        received = b""
        while more := connection.recv(65536):
            received += more
    assert received.count(b"once") == 1
    assert len(peer.requests) == 1


# --- where requests go ------------------------------------------------------------------------------


def test_caller_cannot_choose_the_teacher(running: Running, peer: EvilPeer) -> None:
    """Portkey-AI/gateway#1372, #1718: a header of the caller decided where the request, and the key, went."""
    with evil_peer() as elsewhere:
        host = f"127.0.0.1:{elsewhere.port}"
        for name in ("X-Forwarded-Host", "X-Portkey-Custom-Host", "X-Original-URL", "Forwarded"):
            running.ask("POST", "/predict", b'{"inputs":"x"}', **{name: f"http://{host}"})
        target = f"http://{host}/predict"
        with socket.create_connection(("127.0.0.1", running.port), timeout=10) as connection:
            connection.sendall(f"GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            while connection.recv(65536):
                pass
        assert elsewhere.connections == []
    assert len(peer.requests) >= 4


def test_loop_ends(peer: EvilPeer, tmp_path: Path) -> None:
    """Portkey-AI/gateway#1578: headers that are passed on led a request back to its sender. Two gateways that
    are each other's teacher stop at the second pass."""
    running = start_gateway(tmp_path, peer.url)
    try:
        replies = [
            running.ask("POST", "/predict", b"{}", Via="1.1 stillgate-g0"),
            running.ask("POST", "/predict", b"{}", Via="1.0 other, 1.1 stillgate-g0 (x)"),
        ]
        assert [reply.status for reply in replies] == [508, 508]
        assert peer.requests == []
    finally:
        running.kill()
