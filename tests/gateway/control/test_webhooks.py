"""Events out: CloudEvents to receivers that fail, hang, refuse and come back."""

import base64
import hmac
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from gateway.control.delivery import Outcome, judge, pause_seconds
from gateway.control.webhooks import Webhook, start_webhooks
from ledger.audit import append_audit
from ledger.configuration import Configuration, ConfigurationError, load
from ledger.control_file import open_control_file, transaction
from ledger.tables import CursorRow
from tests.evil_peer import EvilPeer, Request, answer, evil_peer, resets, stalled
from tests.gateway.control.desk import CONFIGURATION, wait_until, write_configuration

SECRET = base64.b64encode(bytes(range(32))).decode()
Start = Callable[..., Webhook]


@pytest.fixture
def peer() -> Iterator[EvilPeer]:
    with evil_peer() as peer:
        peer.always = answer(b"", status=204)
        yield peer


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = open_control_file(tmp_path / "data")
    yield engine
    engine.dispose()


@pytest.fixture
def start(tmp_path: Path, engine: Engine, peer: EvilPeer) -> Iterator[Start]:
    """One webhook at the peer with these settings; ends at the end of the test."""
    stops: list[threading.Event] = []

    def start(settings: str = "") -> Webhook:
        stop = threading.Event()
        stops.append(stop)
        (webhook,) = start_webhooks(configured(tmp_path, peer.url, settings), engine, stop)
        wait_until(lambda: saved_position(engine) is not None)
        return webhook

    yield start
    for stop in stops:
        stop.set()


def configured(folder: Path, url: str, settings: str = "") -> Configuration:
    section = f'\n[[webhook]]\nname = "pager"\nurl = "{url}/hook?token=t0ken"\n{settings}\n'
    return load(write_configuration(folder, CONFIGURATION + section))


def saved_position(engine: Engine, name: str = "pager") -> int | None:
    with transaction(engine) as session:
        row = session.get(CursorRow, (f"webhook:{name}", "audit"))
        return row.position if row else None


def happen(engine: Engine, action: str = "alarm_raised", **details: Any) -> int:
    with transaction(engine) as session:
        row = append_audit(session, "monitor", action, {"task": "topics", **details})
        assert row.number is not None
        return row.number


def field(request: Request, name: str) -> str:
    (value,) = request.values(name.encode())
    return value.decode()


def events(peer: EvilPeer) -> list[dict[str, Any]]:
    return [json.loads(request.body) for request in peer.requests]


def test_an_alarm_arrives_as_a_cloud_event(start: Start, engine: Engine, peer: EvilPeer) -> None:
    """Structured JSON with every attribute that CloudEvents 1.0 requires; what is no event is passed over."""
    webhook = start()
    happen(engine, "key_created", person="p")
    number = happen(engine, alarm=7, slice="area=eu", artifact="s-1", decision="job_opened", job=3)
    wait_until(lambda: webhook.account()["delivered"] == 1)

    (event,) = events(peer)
    assert {name: event[name] for name in ("specversion", "id", "source", "type", "subject")} == {
        "specversion": "1.0",
        "id": str(number),
        "source": "/stillgate/news",
        "type": "io.stillgate.alarm.raised.v1",
        "subject": "topics",
    }
    assert event["data"]["slice"] == "area=eu"
    assert event["time"].endswith("Z")
    assert field(peer.requests[0], "content-type") == "application/cloudevents+json; charset=utf-8"
    assert peer.requests[0].target == "/hook?token=t0ken"


def test_only_the_kinds_that_were_asked_for_arrive(start: Start, engine: Engine, peer: EvilPeer) -> None:
    """A job that succeeded is no event; one that failed is."""
    webhook = start('kinds = ["job", "certificate"]')
    happen(engine, "alarm_raised")
    happen(engine, "stage_changed")
    happen(engine, "job_finished", status="succeeded")
    happen(engine, "job_finished", status="failed", reasons=["too few rows"])
    happen(engine, "certificate_voided", artifact="s-1")
    wait_until(lambda: webhook.account()["delivered"] == 2)

    assert [event["type"] for event in events(peer)] == [
        "io.stillgate.job.failed.v1",
        "io.stillgate.certificate.voided.v1",
    ]


def test_an_event_is_signed(tmp_path: Path, start: Start, engine: Engine, peer: EvilPeer) -> None:
    """HMAC-SHA256 over id, time and body, as standard-webhooks says; a changed secret needs no restart."""
    (tmp_path / "secret").write_text(f"whsec_{SECRET}\n")
    webhook = start('secret_file = "secret"')
    happen(engine)
    wait_until(lambda: webhook.account()["delivered"] == 1)

    request = peer.requests[0]
    signed = f"{field(request, 'webhook-id')}.{field(request, 'webhook-timestamp')}.".encode() + request.body
    expected = base64.b64encode(hmac.digest(bytes(range(32)), signed, "sha256")).decode()
    assert field(request, "webhook-signature") == f"v1,{expected}"


def test_a_receiver_that_fails_hangs_and_recovers_gets_everything_in_order(
    start: Start, engine: Engine, peer: EvilPeer
) -> None:
    """A 503, a reset and a response that never comes are tried again; the account says so meanwhile."""
    peer.then(answer(b"", status=503), resets(), stalled(answer(b""), 0))
    webhook = start("timeout_seconds = 0.5")
    numbers = [str(happen(engine, n=n)) for n in range(3)]
    wait_until(lambda: webhook.account()["failing_seconds"] > 0)
    assert webhook.account()["waiting"] == 3
    wait_until(lambda: webhook.account()["delivered"] == 3)

    assert [event["id"] for event in events(peer)] == [numbers[0]] * 3 + numbers
    assert webhook.account() == {
        "delivered": 3,
        "dropped": {"refused": 0, "expired": 0, "full": 0},
        "waiting": 0,
        "failing_seconds": 0.0,
    }


def test_a_receiver_that_hangs_holds_up_no_other(tmp_path: Path, engine: Engine, peer: EvilPeer) -> None:
    """Each has a thread and a cursor of its own."""
    peer.at["/hang"] = stalled(answer(b""), 0)
    other = f'\n[[webhook]]\nname = "stuck"\nurl = "{peer.url}/hang"\ntimeout_seconds = 60\n'
    stop = threading.Event()
    pager, stuck = start_webhooks(configured(tmp_path, peer.url, other), engine, stop)
    wait_until(
        lambda: saved_position(engine, "pager") is not None and saved_position(engine, "stuck") is not None
    )
    for _ in range(3):
        happen(engine)
    wait_until(lambda: pager.account()["delivered"] == 3)
    assert stuck.account()["delivered"] == 0
    wait_until(lambda: stuck.account()["waiting"] > 0)
    stop.set()


def test_an_event_that_the_receiver_refuses_is_dropped_and_counted(
    start: Start, engine: Engine, peer: EvilPeer
) -> None:
    """The next one still arrives."""
    peer.then(answer(b"", status=422))
    webhook = start()
    happen(engine)
    happen(engine)
    wait_until(lambda: webhook.account()["delivered"] == 1)
    assert webhook.account()["dropped"]["refused"] == 1


def test_what_waits_is_bounded_in_number_and_age(start: Start, engine: Engine, peer: EvilPeer) -> None:
    """Beyond max_waiting the oldest go; what nobody took in give_up_seconds goes too. Each has its reason."""
    peer.always = answer(b"", status=500)
    webhook = start("max_waiting = 2\ngive_up_seconds = 1")
    for _ in range(5):
        happen(engine)
    wait_until(lambda: webhook.account()["waiting"] == 0 and sum(webhook.account()["dropped"].values()) == 5)
    assert webhook.account()["dropped"]["full"] >= 2
    assert webhook.account()["dropped"]["expired"] >= 1
    assert webhook.account()["delivered"] == 0


def test_a_restart_goes_on_where_it_stopped(
    tmp_path: Path, start: Start, engine: Engine, peer: EvilPeer
) -> None:
    """What happened before the receiver was known is not told; what happened while we were down is."""
    happen(engine)
    stop = threading.Event()
    start_webhooks(configured(tmp_path, peer.url), engine, stop)
    wait_until(lambda: saved_position(engine) == 1)
    stop.set()
    missed = happen(engine)
    webhook = start()
    wait_until(lambda: webhook.account()["delivered"] == 1)
    assert [event["id"] for event in events(peer)] == [str(missed)]


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (200, "delivered"),
        (204, "delivered"),
        (301, "failed"),
        (400, "refused"),
        (404, "failed"),
        (429, "failed"),
    ],
)
def test_what_an_answer_means(status: int, outcome: str) -> None:
    """Only what the same bytes would meet again is given up; a redirect is not followed."""
    assert judge(status, "").outcome == Outcome(outcome)


def test_pauses_grow_are_bounded_and_obey_retry_after() -> None:
    """From half a second, doubling, to five minutes; an hour at most if the receiver asks for more."""
    assert 0.25 <= pause_seconds(1, 0) <= 0.5
    assert 150 <= pause_seconds(60, 0) <= 300
    assert pause_seconds(1, judge(503, "90").retry_after_seconds) == 90
    assert judge(503, "99999").retry_after_seconds == 3600
    assert judge(503, "Wed, 21 Oct 2015 07:28:00 GMT").retry_after_seconds == 0


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ('url = "ftp://x/"', "is not http"),
        ('url = "http://user:password@x/"', "no credentials"),
        ('url = "http://x/"\nsecret_file = "a"\nsecret_environment = "B"', "not both"),
        ('url = "http://x/"\nkinds = ["weather"]', "webhook[0].kinds"),
    ],
)
def test_a_wrong_section_is_refused(tmp_path: Path, settings: str, problem: str) -> None:
    """The sentence names the value, the rule and the way out."""
    section = f'\n[[webhook]]\nname = "pager"\n{settings}\n'
    with pytest.raises(ConfigurationError) as raised:
        load(write_configuration(tmp_path, CONFIGURATION + section))
    assert any(problem in sentence for sentence in raised.value.problems), raised.value.problems
