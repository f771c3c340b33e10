"""A deployment with its admin API for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger.control_file import open_control_file
from tests.gateway.control.desk import Desk, add_student, give_pairs, load_from, people_with_keys, serving

GOOD = {"all": (300, 295), "area=eu": (150, 148)}


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """A deployment without any student."""
    path, configuration = load_from(tmp_path)
    engine = open_control_file(configuration.deployment.data_directory)
    keys = people_with_keys(engine)
    with serving(configuration, engine) as url:
        yield Desk(path, configuration, engine, keys, url)
    engine.dispose()


@pytest.fixture
def student(desk: Desk) -> str:
    """A student in shadow whose live pairs pass."""
    artifact = add_student(desk.engine, desk.data_directory)
    give_pairs(desk.engine, artifact, GOOD)
    return artifact
