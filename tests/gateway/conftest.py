"""A teacher in a thread and a gateway process in front of it."""

from collections.abc import Iterator

import pytest

from tests.gateway.running import Running, gateway
from tests.gateway.teachers import TeacherApp, serving


@pytest.fixture(scope="module")
def teacher() -> TeacherApp:
    return TeacherApp()


@pytest.fixture(scope="module")
def teacher_url(teacher: TeacherApp) -> Iterator[str]:
    with serving(teacher) as url:
        yield url


@pytest.fixture(scope="module")
def running(teacher_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One gateway for all tests of a module that only send requests."""
    with gateway(tmp_path_factory.mktemp("gateway"), teacher_url) as process:
        yield process
