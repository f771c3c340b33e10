"""Slice rules in front of real callers: what they read is recorded with its exchange and decides who serves."""

from contextlib import ExitStack
from pathlib import Path

import orjson
import pytest

from gateway.captured import NO_BODY, Body, build
from gateway.coverage import slices_of_exchange
from gateway.routes import Route, Routes
from ledger.control_file import open_control_file, transaction
from ledger.exchange import Exchange, Fallback
from ledger.heartbeats import leave_heartbeat
from ledger.stages import Stage
from student.wire import socket_path
from tests.artifacts import register, set_stage, tiny_artifact
from tests.gateway.recording import captured, routes_in
from tests.gateway.running import Running, gateway, wait_until
from tests.gateway.students import WireStudent, student_at
from tests.gateway.teachers import CLASSES

RULES = """
[[task.slice]]
name = "cut"
pointer = "/parameters/max_length"
[[task.slice]]
name = "refund"
pattern = "(?i)refund"
[[task.slice]]
name = "half"
hours = [0, 12]
time_zone = "UTC"
[[task.slice]]
name = "refund_half"
of = ["refund", "half"]
"""
LANGUAGE = '[[task.slice]]\nname = "language"\nlanguage = ["en", "de"]\n'
BANDS = ("00:00-12:00", "12:00-00:00")
CERTIFIED = {
    "all": 0.3,
    "cut=64": 0.3,
    "refund=no": 0.3,
    **{f"half={band}": 0.3 for band in BANDS},
    **{f"refund_half=no & {band}": 0.3 for band in BANDS},
    "language=en": 0.3,
}


@pytest.fixture(scope="module")
def routes(tmp_path_factory: pytest.TempPathFactory) -> Routes:
    return routes_in(tmp_path_factory.mktemp("routes"), remote_student=RULES + LANGUAGE)


@pytest.fixture
def route(routes: Routes) -> Route:
    return routes.of(b"/predict")


@pytest.mark.parametrize(
    ("value", "recorded"),
    [
        ('"gold"', {"/parameters/max_length": "gold"}),
        ("64", {"/parameters/max_length": "64"}),
        ("6.5", {"/parameters/max_length": "6.5"}),
        ("true", {"/parameters/max_length": "true"}),
        ('"anna@example.com"', {"/parameters/max_length": "[email]"}),
        (f'"{"x" * 60_000}"', {"/parameters/max_length": "x" * 80}),
        (f'"{"x" * 70_000}"', {}),
        ('""', {}),
        ("null", {}),
        ("[1]", {}),
        ('{"a": 1}', {}),
    ],
)
def test_what_stands_in_a_body_is_recorded_like_a_header(
    route: Route, value: str, recorded: dict[str, str]
) -> None:
    """Redacted and of bounded length; lists, objects and nothing are no value."""
    body = f'{{"inputs": "x", "parameters": {{"max_length": {value}}}}}'.encode()
    assert route.attributes_in(body) == recorded


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b'{"parameters": 3}', b"{" * 100_000])
def test_a_body_without_the_place_has_no_value(route: Route, body: bytes) -> None:
    """Whatever callers send."""
    assert route.attributes_in(body) == {}


def test_a_value_in_front_of_binary_tensors_is_found(route: Route) -> None:
    """The JSON head of an Open Inference request is read although bytes follow it."""
    body = b'{"inputs": [], "parameters": {"max_length": 7}}\x00\x01\xff'
    assert route.attributes_in(body) == {"/parameters/max_length": "7"}


def test_the_shadow_counts_by_every_rule_that_is_quick(routes: Routes, route: Route) -> None:
    """Texts are looked at whether they are stored or not; a language is told by the monitor alone."""
    body = Body(b'{"inputs": ["a refund", "hello"], "parameters": {"max_length": 7}}')
    built = build("g0", captured(routes, 1, request=body, started_at_us=13 * 3_600_000_000))
    hidden = built._replace(exchange=built.exchange._replace(inputs=("", "")))

    found = slices_of_exchange(hidden, route.counted_rules, route.classes)
    assert set(found) == {
        "all", "cut=7", "refund=yes", "refund=no", "half=12:00-00:00",
        "refund_half=yes & 12:00-00:00", "refund_half=no & 12:00-00:00",
    }  # fmt: skip
    unread = build("g0", captured(routes, 2, request=NO_BODY, started_at_us=0))
    assert set(slices_of_exchange(unread, route.counted_rules, route.classes)) == {"all", "half=00:00-12:00"}


def ask(process: Running, text: str, cut: int = 64) -> Exchange:
    body = orjson.dumps({"inputs": text, "parameters": {"max_length": cut}})
    assert process.ask("POST", "/predict", body).status == 200
    process.settled()
    return process.exchanges()[-1]


def test_every_kind_of_rule_decides_who_serves(teacher_url: str, tmp_path: Path) -> None:
    """Served where all slices of the request are certified; what the rules read is in the record."""
    with ExitStack() as stack:
        control = open_control_file(tmp_path)
        stack.callback(control.dispose)
        tiny = tiny_artifact(tmp_path, CLASSES, task="desk", thresholds=CERTIFIED)
        register(control, tiny, task="desk", stage=Stage.SHADOW)
        stack.enter_context(student_at(socket_path(tmp_path), WireStudent()))
        rules = {"remote_student": RULES + LANGUAGE, "stale_seconds": 600}
        process = stack.enter_context(gateway(tmp_path, teacher_url, **rules))
        revision = set_stage(control, tiny.artifact, Stage.FULL, 1.0, task="desk")
        wait_until(lambda: process.metrics().get('stillgate_stage_revision{task="desk"}') == revision)
        english = "I have a question about my billing address"
        assert ask(process, english).fallback is Fallback.MONITOR_STALE
        with transaction(control) as session:
            leave_heartbeat(session, "monitor", {})
        wait_until(lambda: process.metrics()['stillgate_degraded{part="monitor"}'] == 0)

        wait_until(lambda: ask(process, english).fallback is None)  # until the languages are loaded
        served = ask(process, english)
        assert (served.served_by, served.attributes) == ("student", {"/parameters/max_length": "64"})
        assert ask(process, english, cut=65).fallback is Fallback.UNCERTIFIED_SLICE
        assert ask(process, english + ", a refund").fallback is Fallback.UNCERTIFIED_SLICE
        assert ask(process, "Ich habe eine Frage zu meiner Rechnung").fallback is Fallback.UNCERTIFIED_SLICE
