"""A real control file and a real exchange file of its own for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from ledger.control_file import open_control_file
from ledger.exchange_file import ExchangeFile, exchange_path


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = open_control_file(tmp_path)
    yield engine
    engine.dispose()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Of the exchange file."""
    return exchange_path(tmp_path, "g0")


@pytest.fixture
def file(path: Path) -> Iterator[ExchangeFile]:
    file = ExchangeFile(path)
    yield file
    file.close()
