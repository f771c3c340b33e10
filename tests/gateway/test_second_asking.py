"""The teacher asked twice: a drawn share, off the path, under the ceiling, beside a record that stays whole."""

import asyncio
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from ledger.exchange import TEACHER_AGAIN, Origin
from tests.gateway.running import gateway, wait_until
from tests.gateway.teachers import entries_of, serving

ASKED = "stillgate_second_askings_total"


class WaveringTeacher:
    """Answers the second time about a text with another class, and only once it may."""

    def __init__(self) -> None:
        self.seen: Counter[str] = Counter()
        self.may_answer_again = threading.Event()
        self.fields: list[dict[bytes, bytes]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body = b""
        while (message := await receive())["type"] == "http.request":
            body += message.get("body", b"")
            if not message.get("more_body", False):
                break
        text = orjson.loads(body)["inputs"]
        self.seen[text] += 1
        self.fields.append(dict(scope["headers"]))
        again = self.seen[text] > 1
        while again and not self.may_answer_again.is_set():
            await asyncio.sleep(0.01)
        content = orjson.dumps(entries_of("other" if again else text))
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(content))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": content})


@pytest.fixture
def wavering() -> WaveringTeacher:
    return WaveringTeacher()


@pytest.fixture
def url(wavering: WaveringTeacher) -> Iterator[str]:
    with serving(wavering) as url:
        yield url


def settings(share: float, per_day: int = 1000) -> dict[str, str]:
    return {"remote_student": f"[task.extra_calls]\nsecond_share = {share}\nper_day = {per_day}\n"}


def test_callers_do_not_wait_for_the_second_answer(
    wavering: WaveringTeacher, url: str, tmp_path: Path
) -> None:
    """They have their answer while the teacher still holds the second one back; then it is an answer of its own."""
    with gateway(tmp_path, url, **settings(1.0)) as process:
        replies = [process.predict(f"billing {number}", authorization="mine") for number in range(3)]
        assert [reply.status for reply in replies] == [200] * 3
        accounts = process.settled()
        assert (accounts["requests"], accounts["recorded"]) == (3, 3)
        wait_until(lambda: wavering.seen.total() == 6)
        assert process.metrics()[ASKED] == 0
        wavering.may_answer_again.set()
        wait_until(lambda: process.metrics()[ASKED] == 3)
        first, *others = process.exchanges()
        (answer,) = process.answers(first.sequence)
        assert len(others) == 2
        assert process.settled()["requests"] == 3
    assert (answer.responder, answer.origin, answer.inclusion) == (TEACHER_AGAIN, Origin.SECOND, 1.0)
    assert (first.teacher[0].top, answer.observations[0].top) == (0, 2)
    assert {fields[b"authorization"] for fields in wavering.fields} == {b"mine"}


def test_a_share_is_drawn_and_what_is_too_much_at_once_is_counted(
    wavering: WaveringTeacher, url: str, tmp_path: Path
) -> None:
    """A few at a time; every other one is dropped with its reason."""
    with gateway(tmp_path, url, **settings(1.0)) as process:
        for number in range(10):
            process.predict(f"billing {number}")
        dropped = 'stillgate_second_askings_dropped_total{reason="too_many"}'
        wait_until(lambda: process.metrics()[dropped] == 6)
        wavering.may_answer_again.set()
        wait_until(lambda: process.metrics()[ASKED] == 4)


def test_it_is_an_extra_call(wavering: WaveringTeacher, url: str, tmp_path: Path) -> None:
    """Beyond the ceiling of the day nothing is asked twice."""
    wavering.may_answer_again.set()
    with gateway(tmp_path, url, **settings(1.0, per_day=2)) as process:
        dropped = 'stillgate_second_askings_dropped_total{reason="daily_ceiling"}'
        for number in range(5):
            process.predict(f"billing {number}")
        wait_until(lambda: process.metrics().get(dropped, 0) == 3)
        wait_until(lambda: process.metrics()[ASKED] == 2)
    assert wavering.seen.total() == 7


def test_nothing_is_asked_twice_unless_the_file_says_so(
    wavering: WaveringTeacher, url: str, tmp_path: Path
) -> None:
    """The default share is none, and a small one draws few."""
    wavering.may_answer_again.set()
    with gateway(tmp_path, url) as process:
        for number in range(20):
            process.predict(f"billing {number}")
        assert process.settled()["recorded"] == 20
    assert wavering.seen.total() == 20
