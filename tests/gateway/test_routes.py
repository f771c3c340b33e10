"""Which teacher a path belongs to."""

from collections.abc import AsyncIterator

import pytest

from gateway.routes import NO_TASK, Routes, routes_of
from gateway.upstream import Pools
from ledger.configuration import Configuration
from tests.gateway.dialects.tasks import task

TASKS = [
    task("huggingface").model_copy(update={"name": "first", "paths": ("/predict",)}),
    task("open-inference").model_copy(
        update={
            "name": "second",
            "paths": ("/v2/models/desk/infer", "/v2/models/desk/versions/7/infer"),
            "teacher": task("huggingface").teacher.model_copy(update={"url": "http://127.0.0.1:2"}),
        }
    ),
]


@pytest.fixture
async def routes() -> AsyncIterator[Routes]:
    pools = Pools()
    yield routes_of(Configuration.model_construct(task=tuple(TASKS)), pools)
    pools.close()


@pytest.mark.parametrize(
    ("path", "name", "origin"),
    [
        (b"/predict", "first", ":1"),
        (b"/v2/models/desk/infer", "second", ":2"),
        (b"/v2/models/desk/versions/7/infer", "second", ":2"),
        (b"/v2/models/desk/versions/8/infer", NO_TASK, ":2"),
        (b"/v2/models/desk", NO_TASK, ":2"),
        (b"/v2/models/desk/ready", NO_TASK, ":2"),
        (b"/v2/models/desktop", NO_TASK, ":1"),
        (b"/v2/health/ready", NO_TASK, ":1"),
        (b"/", NO_TASK, ":1"),
        (b"", NO_TASK, ":1"),
    ],
)
async def test_paths(routes: Routes, path: bytes, name: str, origin: str) -> None:
    """A task's own paths, what else is asked about a model of it, and the first task's teacher for the rest."""
    route = routes.of(path)
    assert (route.name, route.task.teacher.url[-2:]) == (name, origin)
