"""The task of these tests."""

from pathlib import Path

import pytest

from ledger.configuration import TaskSection
from tests.distill.desk import configuration_of


@pytest.fixture
def task(tmp_path: Path) -> TaskSection:
    return configuration_of(tmp_path).task[0]
