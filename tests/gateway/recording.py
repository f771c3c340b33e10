"""Exchanges as the event loop hands them over, and a recorder's accounts once nothing is pending."""

import asyncio
from pathlib import Path
from typing import Any

from gateway.captured import Assignment, Body, Captured
from gateway.record import Accounting, Recorder
from gateway.routes import Routes, routes_of
from gateway.upstream import Pools
from ledger.configuration import load
from ledger.exchange import Outcome, ServedBy
from tests.gateway.running import wait_until, write_configuration

REPLY = b'[{"label":"billing","score":0.7},{"label":"shipping","score":0.2},{"label":"other","score":0.1}]'


def routes_in(directory: Path, **changes: Any) -> Routes:
    """The routes of a configuration whose teacher nobody asks; connections are pooled by event loop."""

    async def routes() -> Routes:
        return routes_of(load(write_configuration(directory, "http://127.0.0.1:9", **changes)[0]), Pools())

    return asyncio.run(routes())


def captured(routes: Routes, sequence: int, **changes: object) -> Captured:
    complete = Captured(
        sequence=sequence,
        route=routes.of(b"/predict"),
        started_at_us=1,
        duration_us=2,
        outcome=Outcome.COMPLETE,
        status=200,
        served_by=ServedBy.TEACHER,
        assignment=Assignment(),
        fallback=None,
        teacher_epoch="v1",
        attributes={},
        request=Body(b'{"inputs":"my billing"}'),
        response=Body(REPLY),
        content_type=b"application/json",
        content_encoding="",
        inline=None,
    )
    return complete._replace(**changes)  # type: ignore[arg-type]


def begin_and_put(recorder: Recorder, routes: Routes, count: int, **changes: object) -> None:
    numbers = [recorder.begin() for _ in range(count)]
    for number in numbers:
        assert number is not None
        recorder.put(captured(routes, number, **changes))


def settled(recorder: Recorder) -> Accounting:
    wait_until(lambda: recorder.accounting().pending == 0)
    accounting = recorder.accounting()
    assert accounting.requests == accounting.recorded + sum(accounting.dropped.values())
    return accounting
