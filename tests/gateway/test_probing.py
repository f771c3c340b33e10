"""Probes before a real gateway: drawn once, frozen, asked again and again, and never in a caller's way."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from sqlmodel import select

from ledger.clock import now_us
from ledger.configuration import load
from ledger.control_file import open_control_file, transaction
from ledger.exchange_file import exchange_path, reading
from ledger.extra_calls import Purpose, used
from ledger.probe_replies import ProbeReply, replies_after
from ledger.probe_set import kept_set, probes_path
from ledger.tables import TeacherChangeRow
from monitor.cycle import run_cycle
from monitor.probe_watch import ProbeWatch
from monitor.teacher_watch import probe_watch
from tests.gateway.running import Running, ended, gateway, start_gateway, start_gateway_on, wait_until
from tests.gateway.teachers import entries_of, serving

TEXTS = ("billing one", "shipping two", "other three")
QUICK = 'every_hours = 0.0002\nfingerprint_header = "x-build"'  # three probes, one each quarter of a second


class ChangingTeacher:
    """Answers as it is told; `seen` keeps the bodies of requests that no caller of the test sent."""

    def __init__(self) -> None:
        self.version, self.build, self.answer = "1", "a", dict[str, str]()
        self.probed: list[bytes] = []
        self.block = threading.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body = b""
        while (message := await receive())["type"] == "http.request":
            body += message.get("body", b"")
            if not message.get("more_body", False):
                break
        if b"x-caller" not in dict(scope["headers"]):
            self.probed.append(body)
        text = orjson.loads(body)["inputs"]
        content = orjson.dumps(entries_of(self.answer.get(text, text)))
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(content)),
            (b"x-model-version", self.version.encode()),
            (b"x-build", self.build.encode()),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": content})


@pytest.fixture
def changing() -> ChangingTeacher:
    return ChangingTeacher()


@pytest.fixture
def url(changing: ChangingTeacher) -> Iterator[str]:
    with serving(changing) as url:
        yield url


def settings(probe: str, per_day: int = 100_000) -> dict[str, str]:
    return {"remote_student": f"[task.extra_calls]\nper_day = {per_day}\n[task.probe]\n{probe}\n"}


DRAWN = settings(f"requests = 3\n{QUICK}", per_day=10**6)


def replies(directory: Path) -> list[ProbeReply]:
    with reading(exchange_path(directory, "g0")) as connection:
        return [reply for _, reply in replies_after(connection, 0, 10_000)]


def draw(process: Running, *texts: str) -> None:
    """Send these until a set is frozen."""

    def frozen() -> bool:
        for text in texts:
            process.predict(text, x_caller="1")
        return kept_set(process.directory, "desk") is not None

    wait_until(frozen)


def probed_texts(directory: Path) -> set[str]:
    kept = kept_set(directory, "desk")
    return {orjson.loads(probe.body)["inputs"] for probe in kept.probes} if kept is not None else set()


def test_early_requests_are_drawn_and_asked_again_and_again(
    changing: ChangingTeacher, url: str, tmp_path: Path
) -> None:
    """Distinct ones, whole passes, each reply with what it says; callers, record and accounts as without."""
    with gateway(tmp_path, url, **DRAWN) as process:
        draw(process, *TEXTS)
        wait_until(lambda: len(replies(tmp_path)) >= 7)
        accounts = process.settled()
        sent = len(process.exchanges())
        assert (accounts["requests"], accounts["recorded"]) == (sent, sent)
        assert process.metrics()['stillgate_extra_calls_total{purpose="probe",task="desk"}'] >= 7
    assert probed_texts(tmp_path) == set(TEXTS)
    first, second = replies(tmp_path)[:3], replies(tmp_path)[3:6]
    assert [sorted(reply.probe for reply in some) for some in (first, second)] == [[0, 1, 2]] * 2
    assert len({reply.pass_at_us for reply in first}) == 1
    assert first[0].pass_at_us < second[0].pass_at_us
    assert {(r.version, r.fingerprint, r.failure) for r in first} == {("1", "a", None)}
    assert first[0].observations[0].confidence == 0.9
    assert used(tmp_path, "desk")[Purpose.PROBE] >= 7
    assert all(orjson.loads(body)["inputs"] in TEXTS for body in changing.probed)


def test_what_redaction_would_change_is_not_drawn(url: str, tmp_path: Path) -> None:
    """Nor what a query may hold: neither stands in the set."""
    with gateway(tmp_path, url, **DRAWN) as process:
        private = "mail ann@example.com about billing"

        def frozen() -> bool:
            process.predict(private, x_caller="1")
            process.ask("POST", "/predict?key=secret", b'{"inputs":"queried"}', x_caller="1")
            process.ask("POST", "/predict", b'{"inputs":"told","by":"bob@example.com"}', x_caller="1")
            for text in TEXTS:
                process.predict(text, x_caller="1")
            return kept_set(tmp_path, "desk") is not None

        wait_until(frozen)
    assert probed_texts(tmp_path) == set(TEXTS)
    assert b"example.com" not in probes_path(tmp_path, "desk").read_bytes()


def test_a_killed_gateway_goes_on_with_the_same_set(
    changing: ChangingTeacher, url: str, tmp_path: Path
) -> None:
    """What was frozen stays, and the pass goes on where it was."""
    slow = settings("requests = 3\nevery_hours = 0.0008", per_day=10**6)  # one each second
    process = start_gateway(tmp_path, url, **slow)
    with ended(process):
        draw(process, *TEXTS)
        frozen = kept_set(tmp_path, "desk")
        wait_until(lambda: len(replies(tmp_path)) >= 1)
        process.kill()
        changing.version = "2"
    again = start_gateway_on(tmp_path, tmp_path / "stillgate.toml", process.port, process.operations_port)
    with ended(again):
        wait_until(lambda: len(replies(tmp_path)) >= 3)
    assert kept_set(tmp_path, "desk") == frozen
    found = replies(tmp_path)[:3]
    assert {reply.probe for reply in found} == {0, 1, 2}
    assert len({reply.pass_at_us for reply in found}) == 1
    assert [reply.version for reply in found][::2] == ["1", "2"]


def test_declared_probes_are_frozen_and_a_changed_file_is_another_set(url: str, tmp_path: Path) -> None:
    """No traffic is needed; the data directory holds what is asked."""
    path = tmp_path / "probes.jsonl"
    path.write_text('{"inputs": "billing"}\n{"inputs": "shipping"}\n')
    with gateway(tmp_path, url, **settings(f'file = "probes.jsonl"\n{QUICK}')):
        wait_until(lambda: len(replies(tmp_path)) >= 2)
        first = kept_set(tmp_path, "desk")
        path.write_text('{"inputs": "billing"}\n')
        wait_until(lambda: replies(tmp_path)[-1].probe_set != replies(tmp_path)[0].probe_set)
    second = kept_set(tmp_path, "desk")
    assert first is not None
    assert second is not None
    assert ([len(one.probes) for one in (first, second)], second.is_declared) == ([2, 1], True)


def test_probes_stop_at_the_ceiling(changing: ChangingTeacher, url: str, tmp_path: Path) -> None:
    """Refused ones are counted, and the teacher gets no more."""
    (tmp_path / "probes.jsonl").write_text('{"inputs": "billing"}\n{"inputs": "shipping"}\n')
    refused = 'stillgate_extra_calls_refused_total{purpose="probe",reason="daily_ceiling",task="desk"}'
    with gateway(tmp_path, url, **settings(f'file = "probes.jsonl"\n{QUICK}', per_day=3)) as process:
        wait_until(lambda: process.metrics()[refused] >= 2)
        wait_until(lambda: len(replies(tmp_path)) == 3)
        assert process.predict("billing", x_caller="1").status == 200
    assert len(changing.probed) == 3


def test_a_teacher_that_fails_leaves_a_reason(tmp_path: Path) -> None:
    """And costs callers nothing that they would not have seen."""
    (tmp_path / "probes.jsonl").write_text('{"inputs": "billing"}\n')
    with gateway(tmp_path, "http://127.0.0.1:9", **settings(f'file = "probes.jsonl"\n{QUICK}')):
        wait_until(lambda: len(replies(tmp_path)) >= 1)
    (reply, *_) = replies(tmp_path)
    assert (reply.failure, reply.observations) == ("upstream_unreachable", ())


def test_a_teacher_that_changes_is_found_by_the_monitor(
    changing: ChangingTeacher, url: str, tmp_path: Path
) -> None:
    """The real gateway asks, a real tick folds: nothing while the teacher is the same, one change when it is not."""
    texts = [f"billing {number}" for number in range(12)]
    (tmp_path / "probes.jsonl").write_text("".join(f'{{"inputs": "{text}"}}\n' for text in texts))
    engine = open_control_file(tmp_path)
    try:
        with gateway(tmp_path, url, **settings(f'file = "probes.jsonl"\n{QUICK}', per_day=10**6)):
            configuration = load(tmp_path / "stillgate.toml")

            def watch() -> ProbeWatch | None:
                run_cycle(engine, configuration, now_us())
                with transaction(engine) as session:
                    return probe_watch(session, "desk")

            def changes() -> list[str]:
                watch()
                with transaction(engine) as session:
                    return list(session.exec(select(TeacherChangeRow.kind)))

            wait_until(lambda: (seen := watch()) is not None and seen.detector is not None)
            assert changes() == []
            changing.answer = dict.fromkeys(texts, "other")
            wait_until(lambda: changes() == ["answers"], seconds=40)
    finally:
        engine.dispose()
